// A worker pool that takes no more.
#pragma once

#include <gtest/gtest.h>

#include <future>

#include "common/concurrency/worker_pool.h"

namespace atelier::testing {

// Occupies the one worker and the one place in the queue of a WorkerPool(1, 1). Release before the
// pool stops.
class FullPool {
 public:
  explicit FullPool(WorkerPool& pool) {
    EXPECT_TRUE(pool.Submit([this] {
      running_.set_value();
      go_on_.get_future().wait();
    }));
    running_.get_future().wait();
    EXPECT_TRUE(pool.Submit([this] { queued_.set_value(); }));
  }
  FullPool(const FullPool&) = delete;
  FullPool& operator=(const FullPool&) = delete;

  // Returns when there is room again.
  void Release() {
    go_on_.set_value();
    queued_.get_future().wait();
  }

 private:
  std::promise<void> running_;
  std::promise<void> go_on_;
  std::promise<void> queued_;
};

}  // namespace atelier::testing
