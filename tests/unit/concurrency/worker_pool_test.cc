#include "common/concurrency/worker_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

namespace atelier {
namespace {

// It is called in reactions, and under locks that the pool's jobs wait for.
TEST(WorkerPool, SubmitRefusesWhenFullAndNeverBlocks) {
  WorkerPool pool(1, /*max_queued=*/1);
  std::promise<void> running;
  std::promise<void> go_on;
  ASSERT_TRUE(pool.Submit([&] {
    running.set_value();
    go_on.get_future().wait();
  }));
  running.get_future().wait();
  std::promise<void> queued;
  ASSERT_TRUE(pool.Submit([&] { queued.set_value(); }));
  auto refused = std::async(std::launch::async, [&] { return pool.Submit([] {}); });
  EXPECT_EQ(refused.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  go_on.set_value();
  queued.get_future().wait();
  EXPECT_FALSE(refused.get());
  EXPECT_TRUE(pool.Submit([] {})) << "there is room again";
  pool.Stop();
  EXPECT_FALSE(pool.Submit([] {}));
}

}  // namespace
}  // namespace atelier
