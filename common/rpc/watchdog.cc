#include "common/rpc/watchdog.h"

#include <algorithm>
#include <utility>

namespace atelier::rpc {
namespace {

constexpr int kLeastUnanswered = 3;

}  // namespace

Watchdog::Watchdog(const WatchdogOptions& options, Ask ask, GiveUp give_up)
    : options_(options),
      ask_(std::move(ask)),
      give_up_(std::move(give_up)),
      thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stopping_cv_.NotifyAll();
  }
  thread_.join();
}

void Watchdog::Run() {
  using Clock = std::chrono::steady_clock;
  const std::chrono::milliseconds third = options_.limit / 3;
  Clock::time_point answered = Clock::now();
  int unanswered = 0;
  while (Pause(unanswered == 0 ? third : std::min(third, options_.retry))) {
    const absl::Status answer = ask_(third);
    if (answer.ok()) {
      answered = Clock::now();
      unanswered = 0;
      continue;
    }
    ++unanswered;
    if (unanswered >= kLeastUnanswered && Clock::now() - answered >= options_.limit) {
      return give_up_(answer);
    }
  }
}

bool Watchdog::Pause(std::chrono::milliseconds pause) {
  MutexLock lock(mutex_);
  return !stopping_cv_.WaitFor(mutex_, pause,
                               [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; });
}

}  // namespace atelier::rpc
