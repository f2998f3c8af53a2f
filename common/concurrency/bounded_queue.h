// A closable queue bounded by cost (items or bytes). Thread-safe, many producers and consumers.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "common/concurrency/mutex.h"

namespace atelier {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(uint64_t max_cost) : max_cost_(max_cost) {}

  // Blocks while full; an item dearer than the whole bound enters when the queue is empty.
  // False when closed (the item is dropped).
  bool Push(T item, uint64_t cost = 1) {
    MutexLock lock(mutex_);
    space_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_ || Fits(cost); });
    return PushLocked(std::move(item), cost);
  }
  // Never blocks. False when full or closed; the item is then left as it was.
  bool TryPush(T& item, uint64_t cost = 1) {
    MutexLock lock(mutex_);
    if (closed_ || !Fits(cost)) return false;
    return PushLocked(std::move(item), cost);
  }
  // Blocks while empty. Nothing when closed and drained.
  std::optional<T> Pop() {
    MutexLock lock(mutex_);
    items_ready_.Wait(mutex_,
                      [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    auto [item, cost] = std::move(items_.front());
    items_.pop_front();
    cost_ -= cost;
    space_.NotifyAll();
    return std::move(item);
  }
  // No further pushes; consumers drain what is left. Idempotent.
  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
    space_.NotifyAll();
    items_ready_.NotifyAll();
  }
  uint64_t cost() const {
    MutexLock lock(mutex_);
    return cost_;
  }

 private:
  bool Fits(uint64_t cost) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return items_.empty() || cost_ + cost <= max_cost_;
  }
  bool PushLocked(T item, uint64_t cost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return false;
    items_.emplace_back(std::move(item), cost);
    cost_ += cost;
    items_ready_.NotifyOne();
    return true;
  }

  const uint64_t max_cost_;
  mutable Mutex mutex_;
  CondVar space_;
  CondVar items_ready_;
  std::deque<std::pair<T, uint64_t>> items_ ABSL_GUARDED_BY(mutex_);
  uint64_t cost_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace atelier
