#include "common/base/idle_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace atelier {
namespace {

using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;

constexpr size_t kBlock = 64 << 10;  // below what glibc maps on its own
constexpr size_t kBlocks = 1024;

// Freed, but for one that keeps the heap from shrinking.
std::unique_ptr<std::vector<char>> LeaveAHoleBelow() {
  std::vector<std::unique_ptr<std::vector<char>>> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(std::make_unique<std::vector<char>>(kBlock, 'x'));
  }
  return std::move(blocks.back());
}

TEST(IdleMemory, IsReturnedOnceTheProcessIsIdleAndOnlyWhenThereIsSome) {
  IdleMemory memory;
  const auto kept = LeaveAHoleBelow();
  const int64_t before = ResidentBytes();
  const auto busy_until = steady_clock::now() + milliseconds(50);
  while (steady_clock::now() < busy_until) {
  }
  EXPECT_FALSE(memory.ReturnFreed()) << "this process was busy until now";

  const auto patience = steady_clock::now() + std::chrono::seconds(60);
  bool returned = false;
  while (!returned && steady_clock::now() < patience) {
    std::this_thread::sleep_for(milliseconds(20));  // idle
    returned = memory.ReturnFreed();
  }
  EXPECT_TRUE(returned);
  constexpr auto kFreed = static_cast<int64_t>(kBlock * kBlocks);
  EXPECT_LT(ResidentBytes(), before - kFreed / 2);
  EXPECT_EQ(kept->front(), 'x');

  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(memory.ReturnFreed()) << "nothing has grown";
}

}  // namespace
}  // namespace atelier
