#include "common/concurrency/shutdown.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

namespace atelier {
namespace {

constexpr unsigned char kStop = 0;  // no signal has this number

// The handler's end of the pipe; a lock-free atomic is all that a handler may touch.
std::atomic<int> g_write_end{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int signal) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(signal);
  // A full pipe means that a signal is waiting to be read already.
  [[maybe_unused]] const ssize_t written = ::write(g_write_end.load(), &byte, 1);
  errno = saved;
}

}  // namespace

struct ShutdownSignals::State {
  std::function<void(int)> on_signal;
  int read_end = -1;
  struct sigaction old_interrupt{};
  struct sigaction old_terminate{};
  std::thread waiter;
  std::thread handler;
};

ShutdownSignals::ShutdownSignals(std::function<void(int signal)> on_signal)
    : state_(std::make_unique<State>()) {
  state_->on_signal = std::move(on_signal);
  int ends[2] = {-1, -1};
  // Without a pipe (no descriptor left) the signals keep their default action.
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  // A handler must not wait, whatever the reader does.
  if (::fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
    ::close(ends[0]);
    ::close(ends[1]);
    return;
  }
  state_->read_end = ends[0];
  g_write_end = ends[1];
  state_->waiter = std::thread([state = state_.get()] {
    bool handled = false;
    while (true) {
      unsigned char byte = kStop;
      const ssize_t n = ::read(state->read_end, &byte, 1);
      if (n < 0 && errno == EINTR) continue;
      if (n != 1 || byte == kStop) return;
      const int signal = byte;
      if (!handled) {
        handled = true;
        state->handler = std::thread([state, signal] { state->on_signal(signal); });
      } else if (signal == SIGINT) {
        ::_exit(130);
      }
    }
  });
  struct sigaction action{};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &state_->old_interrupt);
  ::sigaction(SIGTERM, &action, &state_->old_terminate);
}

ShutdownSignals::~ShutdownSignals() {
  if (state_->read_end < 0) return;
  ::sigaction(SIGINT, &state_->old_interrupt, nullptr);
  ::sigaction(SIGTERM, &state_->old_terminate, nullptr);
  const int write_end = g_write_end.exchange(-1);
  // Full for as long as the waiter has not read what came before.
  while (::write(write_end, &kStop, 1) < 0 && (errno == EINTR || errno == EAGAIN)) {
    std::this_thread::yield();
  }
  state_->waiter.join();
  if (state_->handler.joinable()) state_->handler.join();
  ::close(write_end);
  ::close(state_->read_end);
}

}  // namespace atelier
