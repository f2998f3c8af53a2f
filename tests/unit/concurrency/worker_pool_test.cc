#include "common/concurrency/worker_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "tests/testing/full_pool.h"

namespace atelier {
namespace {

// It is called in reactions, and under locks that the pool's jobs wait for.
TEST(WorkerPool, SubmitRefusesWhenFullAndNeverBlocks) {
  WorkerPool pool(1, /*max_queued=*/1);
  testing::FullPool full(pool);
  auto refused = std::async(std::launch::async, [&] { return pool.Submit([] {}); });
  EXPECT_EQ(refused.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  full.Release();
  EXPECT_FALSE(refused.get());
  EXPECT_TRUE(pool.Submit([] {})) << "there is room again";
  pool.Stop();
  EXPECT_FALSE(pool.Submit([] {}));
}

}  // namespace
}  // namespace atelier
