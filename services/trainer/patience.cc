#include "services/trainer/patience.h"

#include <algorithm>
#include <string>

#include "common/base/logging.h"

namespace atelier::trainer {
namespace {

constexpr std::chrono::milliseconds kRetryPause{300};

}  // namespace

absl::Status Patience::Insist(std::string_view what, const std::function<absl::Status()>& attempt) {
  bool told = false;
  while (true) {
    const absl::Status status = attempt();
    const bool full = absl::IsResourceExhausted(status);
    if (!full && !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    if (!full) {
      if (stop_.reason() == StopReason::kAbandon) {
        return absl::AbortedError("the lease ran out while the coordinator was away");
      }
      LogWarning("%s: %s; trying on", std::string(what), status.ToString());
      AwaitCoordinator();
      told = false;
      continue;
    }
    if (!told) LogWarning("%s: %s; waiting for room", std::string(what), status.ToString());
    told = true;
    if (!AwaitRoom()) {
      return stop_.reason() == StopReason::kAbandon
                 ? absl::AbortedError("the task was given up while the coordinator's disk was full")
                 : absl::CancelledError("stopped while the coordinator's disk was full");
    }
  }
}

void Patience::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  changed_.NotifyAll();
}

void Patience::AwaitCoordinator() {
  MutexLock lock(mutex_);
  changed_.WaitFor(mutex_, kRetryPause, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return false; });
}

bool Patience::AwaitRoom() {
  const auto until = std::chrono::steady_clock::now() + full_disk_pause_;
  MutexLock lock(mutex_);
  // A stop wakes nobody here: it is looked for between short waits.
  while (!closed_ && !stop_.stopped()) {
    if (std::chrono::steady_clock::now() >= until) return true;
    changed_.WaitFor(mutex_, std::min(kRetryPause, full_disk_pause_),
                     [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_; });
  }
  return false;
}

}  // namespace atelier::trainer
