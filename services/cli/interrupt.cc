#include "services/cli/interrupt.h"

#include <unistd.h>

#include "services/cli/command.h"

namespace atelier::cli {

Interrupt::Interrupt() {
  signals_ = std::make_unique<ShutdownSignals>([this](int) { OnSignal(); });
}

void Interrupt::OnSignal() {
  std::function<void()> action;
  {
    MutexLock lock(mutex_);
    raised_ = true;
    action = action_;
  }
  if (!action) ::_exit(kInterrupted);
  action();
  MutexLock lock(mutex_);
  handled_ = true;
  changed_.NotifyAll();
}

bool Interrupt::SetAction(std::function<void()> action) {
  {
    MutexLock lock(mutex_);
    action_ = action;
    if (!raised_) return false;
  }
  if (action) action();
  return true;
}

bool Interrupt::raised() const {
  MutexLock lock(mutex_);
  return raised_;
}

void Interrupt::WaitHandled() {
  MutexLock lock(mutex_);
  if (!raised_) return;
  changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return handled_; });
}

void Interrupt::Wait() {
  MutexLock lock(mutex_);
  changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return handled_; });
}

}  // namespace atelier::cli
