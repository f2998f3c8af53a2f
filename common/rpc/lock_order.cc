#include "common/rpc/lock_order.h"

#include "absl/synchronization/mutex.h"

namespace atelier::rpc {

void TurnOffLockOrderChecks() {
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
}

}  // namespace atelier::rpc
