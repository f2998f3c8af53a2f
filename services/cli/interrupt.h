// Ctrl-C and SIGTERM for a verb: at once by default, or what the verb asks for.
#pragma once

#include <functional>
#include <memory>

#include "common/concurrency/mutex.h"
#include "common/concurrency/shutdown.h"

namespace atelier::cli {

// Made first in main (it installs the signal handlers). Thread-safe.
class Interrupt {
 public:
  Interrupt();

  // What the first signal does from now on, on a thread of its own; empty: the process ends with
  // code 130. When a signal came before, `action` runs at once, on the caller's thread. Whether one
  // came before: then the action before this one runs or has run (WaitHandled), else it never will.
  bool SetAction(std::function<void()> action);
  bool raised() const;
  // After a signal: blocks until its action has returned. Returns at once when there was none.
  void WaitHandled();
  // Blocks until a signal came and its action has returned.
  void Wait();

 private:
  void OnSignal();

  mutable Mutex mutex_;
  CondVar changed_;
  std::function<void()> action_ ABSL_GUARDED_BY(mutex_);
  bool raised_ ABSL_GUARDED_BY(mutex_) = false;
  bool handled_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<ShutdownSignals> signals_;
};

}  // namespace atelier::cli
