#include "common/concurrency/shutdown.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace atelier {

struct ShutdownSignals::State {
  std::function<void(int)> on_signal;
  std::atomic<bool> stopping{false};
  std::thread waiter;
  std::thread handler;
};

namespace {

constexpr int kWakeUp = SIGUSR2;  // ends the waiting thread from the destructor

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, kWakeUp);
  return set;
}

}  // namespace

ShutdownSignals::ShutdownSignals(std::function<void(int signal)> on_signal)
    : state_(std::make_unique<State>()) {
  state_->on_signal = std::move(on_signal);
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  state_->waiter = std::thread([state = state_.get()] {
    const sigset_t signals = HandledSignals();
    bool handled = false;
    while (true) {
      int signal = 0;
      if (sigwait(&signals, &signal) != 0) continue;
      if (signal == kWakeUp) {
        if (state->stopping) return;
        continue;
      }
      if (!handled) {
        handled = true;
        state->handler = std::thread([state, signal] { state->on_signal(signal); });
      } else if (signal == SIGINT) {
        ::_exit(130);
      }
    }
  });
}

ShutdownSignals::~ShutdownSignals() {
  state_->stopping = true;
  pthread_kill(state_->waiter.native_handle(), kWakeUp);
  state_->waiter.join();
  if (state_->handler.joinable()) state_->handler.join();
}

}  // namespace atelier
