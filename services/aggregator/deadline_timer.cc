#include "services/aggregator/deadline_timer.h"

namespace atelier::aggregator {

DeadlineTimer::DeadlineTimer() : thread_([this] { Run(); }) {}

DeadlineTimer::~DeadlineTimer() { Stop(); }

void DeadlineTimer::Stop() {
  std::map<Id, std::function<void()>> dropped;  // destroyed without the lock: they may own a lot
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(waiting_);
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

DeadlineTimer::Id DeadlineTimer::Schedule(TimePoint when, std::function<void()> function) {
  MutexLock lock(mutex_);
  const Id id{when, next_number_++};
  const auto entry = waiting_.emplace(id, std::move(function)).first;
  if (entry == waiting_.begin()) changed_.NotifyAll();
  return id;
}

bool DeadlineTimer::Cancel(const Id& id) {
  std::function<void()> dropped;  // destroyed without the lock: it may own a lot
  MutexLock lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  dropped = std::move(found->second);
  waiting_.erase(found);
  return true;
}

void DeadlineTimer::Run() {
  while (true) {
    std::function<void()> due;
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      if (waiting_.empty()) {
        changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return stopping_ || !waiting_.empty();
        });
        continue;
      }
      const Id first = waiting_.begin()->first;
      const bool woken =
          changed_.WaitUntil(mutex_, first.when, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
            return stopping_ || waiting_.empty() || waiting_.begin()->first != first;
          });
      if (woken) continue;
      due = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
    }
    due();
  }
}

}  // namespace atelier::aggregator
