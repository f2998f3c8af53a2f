// Counts calls per full method name ("/atelier.v1.DataService/StreamBatches") with a client
// interceptor. Tests use it to show that embedded and distributed runs make the same calls.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/concurrency/mutex.h"

namespace atelier::rpc {

// Thread-safe.
class CallCounter {
 public:
  void Count(const std::string& method);
  std::map<std::string, int64_t> Snapshot() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, int64_t> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::rpc
