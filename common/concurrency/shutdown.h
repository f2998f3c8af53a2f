// SIGINT and SIGTERM as an ordinary wait, never as a signal handler.
#pragma once

#include <functional>
#include <memory>

namespace atelier {

// Blocks SIGINT and SIGTERM in the calling thread, and so in every thread started afterwards: make
// it first in main. A thread of its own waits for them with sigwait; the first signal calls
// `on_signal` on that thread (it may block: draining happens there), a second SIGINT ends the
// process at once with code 130. The destructor stops the thread.
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
