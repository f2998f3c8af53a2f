// SIGINT and SIGTERM as an ordinary callback on an ordinary thread.
#pragma once

#include <functional>
#include <memory>

namespace atelier {

// At most one at a time in a process. The signal handler does nothing but write a byte to a pipe; a
// thread of its own reads it. (Blocking the signals for a sigwait thread is not enough: OpenBLAS
// starts threads when it is loaded, before main, and a signal delivered to one of them would end
// the process.) The first signal calls `on_signal` on a further thread (it may block: draining
// happens there), a second SIGINT ends the process at once with code 130. The destructor restores
// the handlers and joins.
class ShutdownSignals {
 public:
  explicit ShutdownSignals(std::function<void(int signal)> on_signal);
  ~ShutdownSignals();
  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atelier
