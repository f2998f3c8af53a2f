// Counts calls per full method name ("/atelier.v1.DataService/StreamBatches") with a client
// interceptor. Tests use it to show that embedded and distributed runs make the same calls.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
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

// The process's own counter when ATELIER_CALL_COUNTS names a folder, else null. At a normal exit
// the counts go to FOLDER/PID.json ({"/package.Service/Method": calls}). Thread-safe.
std::shared_ptr<CallCounter> CallCounterFromEnvironment();

}  // namespace atelier::rpc
