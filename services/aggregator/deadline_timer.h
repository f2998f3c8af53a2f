// Calls functions at points of time, on one thread of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "common/concurrency/mutex.h"

namespace atelier::aggregator {

// Thread-safe. Functions are short; what has not run at Stop never runs.
class DeadlineTimer {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Id {
    TimePoint when;
    uint64_t number = 0;
    auto operator<=>(const Id&) const = default;
  };

  DeadlineTimer();
  ~DeadlineTimer();  // stops
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  Id Schedule(TimePoint when, std::function<void()> function);
  // False when it runs now or has run; does not wait for it.
  bool Cancel(const Id& id);
  // Nothing runs any more once it returns. Idempotent; not from a function.
  void Stop();

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<Id, std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the others
};

}  // namespace atelier::aggregator
