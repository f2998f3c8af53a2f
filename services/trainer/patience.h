// Calls that keep what a task has done: tried on while the coordinator is away or its disk is full.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "common/concurrency/mutex.h"
#include "services/trainer/stop_signal.h"

namespace atelier::trainer {

// A try sends the whole checkpoint again, and somebody has to make room first.
inline constexpr std::chrono::milliseconds kFullDiskPause{5'000};

// Thread-safe.
class Patience {
 public:
  // `stop`, the task's, must outlive it. `full_disk_pause`: between two tries.
  explicit Patience(const StopSignal& stop,
                    std::chrono::milliseconds full_disk_pause = kFullDiskPause)
      : stop_(stop), full_disk_pause_(full_disk_pause) {}

  // The first answer of `attempt` that says neither that the coordinator is away (UNAVAILABLE,
  // DEADLINE_EXCEEDED) nor that its disk is full (RESOURCE_EXHAUSTED). ABORTED once the task is
  // abandoned. CANCELLED when the disk is full and the trainer drains, or after Close: an absent
  // coordinator ends the lease and so the wait, a full disk would hold the drain for ever. `what`
  // for the log.
  absl::Status Insist(std::string_view what, const std::function<absl::Status()>& attempt);

  // Nobody waits for room any more.
  void Close();

 private:
  void AwaitCoordinator();
  bool AwaitRoom();  // false: it is not to be waited for

  const StopSignal& stop_;
  const std::chrono::milliseconds full_disk_pause_;
  Mutex mutex_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace atelier::trainer
