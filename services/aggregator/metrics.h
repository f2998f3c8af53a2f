// What an operator sees of an aggregator: requests, latency, failures per member, queue bytes,
// images.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace prometheus {
class Registry;
}

namespace atelier::aggregator {

// Thread-safe.
class Metrics {
 public:
  static std::unique_ptr<Metrics> Create(std::shared_ptr<prometheus::Registry> registry);
  virtual ~Metrics() = default;

  // One finished request. `api`: "oip", "oip_stream", "atelier"; `images` counts when it is OK.
  virtual void RecordRequest(std::string_view api, const absl::Status& status,
                             std::chrono::nanoseconds latency, int images, bool degraded) = 0;
  virtual void RecordMemberFailure(const std::string& member, const absl::Status& status) = 0;
  virtual void SetQueueBytes(int64_t bytes) = 0;
};

}  // namespace atelier::aggregator
