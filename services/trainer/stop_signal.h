// Why a task has to stop before its end, and a way to be woken when it has to.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::trainer {

enum class StopReason {
  kNone,
  kDrain,    // this trainer stops: checkpoint, give the task back
  kAbandon,  // cancelled, or the lease is lost: say nothing more for it
};

// Thread-safe. The first reason stays, but kAbandon overrides kDrain.
class StopSignal {
 public:
  void Stop(StopReason reason) {
    MutexLock lock(mutex_);
    if (reason_ == StopReason::kNone || reason == StopReason::kAbandon) reason_ = reason;
    if (interrupt_) interrupt_();
  }
  StopReason reason() const {
    MutexLock lock(mutex_);
    return reason_;
  }
  bool stopped() const { return reason() != StopReason::kNone; }

  // While it lives, Stop calls `interrupt` (at once if it stopped already), which must be quick and
  // must not call back. For ending a blocking wait. Declare it after what `interrupt` touches, so
  // that it goes first however the scope is left. At most one at a time.
  class [[nodiscard]] Interruption {
   public:
    Interruption(StopSignal& signal, std::function<void()> interrupt) : signal_(signal) {
      signal_.SetInterrupt(std::move(interrupt));
    }
    ~Interruption() { signal_.SetInterrupt(nullptr); }
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

   private:
    StopSignal& signal_;
  };

 private:
  void SetInterrupt(std::function<void()> interrupt) {
    MutexLock lock(mutex_);
    interrupt_ = std::move(interrupt);
    if (interrupt_ && reason_ != StopReason::kNone) interrupt_();
  }

  mutable Mutex mutex_;
  StopReason reason_ ABSL_GUARDED_BY(mutex_) = StopReason::kNone;
  std::function<void()> interrupt_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::trainer
