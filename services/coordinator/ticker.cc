#include "services/coordinator/ticker.h"

#include <algorithm>

namespace atelier::coordinator {
namespace {

// condition_variable overflows on time_point::max().
constexpr std::chrono::hours kLongest{1};

}  // namespace

Ticker::Ticker(RunExecutor& executor) : executor_(executor) {
  executor_.SetKick([this] {
    MutexLock lock(mutex_);
    kicked_ = true;
    woken_.NotifyAll();
  });
  thread_ = std::thread([this] { Run(); });
}

Ticker::~Ticker() {
  executor_.SetKick(nullptr);
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    woken_.NotifyAll();
  }
  thread_.join();
}

void Ticker::Run() {
  SteadyTime next{};
  while (true) {
    {
      MutexLock lock(mutex_);
      woken_.WaitUntil(mutex_, next,
                       [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return kicked_ || stopping_; });
      if (stopping_) return;
      kicked_ = false;
    }
    next = std::min(executor_.Tick(), std::chrono::steady_clock::now() + kLongest);
  }
}

}  // namespace atelier::coordinator
