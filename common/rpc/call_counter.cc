#include "common/rpc/call_counter.h"

namespace atelier::rpc {

void CallCounter::Count(const std::string& method) {
  MutexLock lock(mutex_);
  ++calls_[method];
}

std::map<std::string, int64_t> CallCounter::Snapshot() const {
  MutexLock lock(mutex_);
  return calls_;
}

}  // namespace atelier::rpc
