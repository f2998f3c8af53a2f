// A clock that only the test moves. Thread-safe.
#pragma once

#include <chrono>

#include "common/base/clock.h"
#include "common/concurrency/mutex.h"

namespace atelier::testing {

class FakeClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point Now() const override {
    MutexLock lock(mutex_);
    return now_;
  }
  std::chrono::system_clock::time_point WallNow() const override {
    MutexLock lock(mutex_);
    return wall_;
  }
  void Advance(std::chrono::nanoseconds by) {
    MutexLock lock(mutex_);
    now_ += std::chrono::duration_cast<std::chrono::steady_clock::duration>(by);
    wall_ += std::chrono::duration_cast<std::chrono::system_clock::duration>(by);
  }

 private:
  mutable Mutex mutex_;
  std::chrono::steady_clock::time_point now_ ABSL_GUARDED_BY(mutex_){std::chrono::hours(1)};
  std::chrono::system_clock::time_point wall_ ABSL_GUARDED_BY(mutex_){
      std::chrono::hours(24 * 365 * 50)};
};

}  // namespace atelier::testing
