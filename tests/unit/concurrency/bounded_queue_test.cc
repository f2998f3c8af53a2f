#include "common/concurrency/bounded_queue.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace atelier {
namespace {

TEST(BoundedQueue, KeepsOrderAndBoundsTheCost) {
  BoundedQueue<std::string> queue(10);
  std::string a = "a", b = "b", c = "c";
  EXPECT_TRUE(queue.TryPush(a, 6));
  EXPECT_FALSE(queue.TryPush(b, 5));
  EXPECT_EQ(b, "b") << "a refused item is left as it was";
  EXPECT_TRUE(queue.TryPush(c, 4));
  EXPECT_EQ(queue.cost(), 10u);
  EXPECT_EQ(queue.Pop(), "a");
  EXPECT_EQ(queue.Pop(), "c");
}

TEST(BoundedQueue, AnItemAboveTheBoundEntersWhenEmpty) {
  BoundedQueue<int> queue(10);
  int big = 1;
  EXPECT_TRUE(queue.TryPush(big, 100));
  EXPECT_FALSE(queue.TryPush(big, 1));
}

TEST(BoundedQueue, CloseWakesWaitersAndDrains) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.Push(1));
  bool pushed = true;
  std::thread producer([&] { pushed = queue.Push(2); });
  queue.Close();
  producer.join();
  EXPECT_FALSE(pushed);
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  EXPECT_FALSE(queue.Push(3));
}

TEST(BoundedQueue, NothingIsLostOrDoubledAmongThreads) {
  constexpr int kPerProducer = 2000;
  BoundedQueue<int> queue(7);
  std::vector<std::thread> producers;
  for (int p = 0; p < 3; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kPerProducer; ++i) queue.Push(p * kPerProducer + i);
    });
  }
  std::vector<std::vector<int>> seen(3);
  std::vector<std::thread> consumers;
  for (auto& mine : seen) {
    consumers.emplace_back([&queue, &mine] {
      while (auto item = queue.Pop()) mine.push_back(*item);
    });
  }
  for (auto& thread : producers) thread.join();
  queue.Close();
  for (auto& thread : consumers) thread.join();
  std::vector<int> all;
  for (const auto& mine : seen) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  std::vector<int> expected(3 * kPerProducer);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

}  // namespace
}  // namespace atelier
