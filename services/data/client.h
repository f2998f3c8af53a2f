// Client of the data-service.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/data_service.pb.h"
#include "common/rpc/channel.h"

namespace grpc {
class CallbackServerContext;
}

namespace atelier::data {

// Whom a call is made for.
struct CallScope {
  // Set: the call ends with this one, at its deadline or when its client has left. It must outlive
  // the call.
  const grpc::CallbackServerContext* parent = nullptr;
  // The longest it may take; unset: 30 minutes to describe, one for a preview.
  std::optional<std::chrono::milliseconds> timeout;
};

struct DatasetDescription {
  v1::DatasetSummary summary;
  std::vector<v1::Sample> samples;  // sorted by file; only when the manifest was asked for
};

using DescribeProgressFn = std::function<void(const v1::DescribeProgress&)>;

// One replica. Thread-safe. Every call has a deadline; idempotent calls are retried on UNAVAILABLE.
class DataClient {
 public:
  static std::unique_ptr<DataClient> Create(std::shared_ptr<grpc::Channel> channel);
  virtual ~DataClient() = default;

  virtual absl::StatusOr<DatasetDescription> Describe(const v1::DescribeDatasetRequest& request,
                                                      const DescribeProgressFn& on_progress,
                                                      const CallScope& scope = {}) = 0;
  virtual absl::StatusOr<v1::PreviewResponse> Preview(const v1::PreviewRequest& request,
                                                      const CallScope& scope = {}) = 0;
};

// Batches of one epoch in order. Not thread-safe, but Cancel may come from any thread, and never
// waits.
class BatchStream {
 public:
  virtual ~BatchStream() = default;
  // The next batch, nothing at the end of the epoch. Blocks.
  virtual absl::StatusOr<std::optional<v1::Batch>> Next() = 0;
  virtual void Cancel() = 0;
};

// Where a trainer gets its streams from: replicas by rendezvous hash of the plan's digest, the next
// one when the first is UNAVAILABLE; a broken stream is reopened at the step that comes next, for
// as long as `patience_ms` without any batch. Thread-safe.
class BatchSource {
 public:
  static std::unique_ptr<BatchSource> Create(std::shared_ptr<rpc::ChannelFactory> channels,
                                             std::vector<std::string> addresses,
                                             int patience_ms = 60'000);
  virtual ~BatchSource() = default;
  virtual std::unique_ptr<BatchStream> Open(const v1::DataPlan& plan, int epoch,
                                            int first_step) = 0;
};

// SHA-256 of the plan's deterministic serialization without `dataset`.
std::string DataPlanDigest(const v1::DataPlan& plan);

}  // namespace atelier::data
