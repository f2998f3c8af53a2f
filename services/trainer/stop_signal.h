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

  // `interrupt` is called by Stop (at once if it stopped already) until it is replaced by nullptr;
  // it must be quick and must not call back. For ending a blocking wait.
  void SetInterrupt(std::function<void()> interrupt) {
    MutexLock lock(mutex_);
    interrupt_ = std::move(interrupt);
    if (interrupt_ && reason_ != StopReason::kNone) interrupt_();
  }

 private:
  mutable Mutex mutex_;
  StopReason reason_ ABSL_GUARDED_BY(mutex_) = StopReason::kNone;
  std::function<void()> interrupt_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::trainer
