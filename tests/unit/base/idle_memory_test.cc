#include "common/base/idle_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace atelier {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // what they free stays theirs
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;

constexpr size_t kBlock = 64 << 10;  // below what glibc maps on its own
constexpr size_t kBlocks = 1024;

constexpr auto kFreed = static_cast<int64_t>(kBlock * kBlocks);

std::vector<std::unique_ptr<std::vector<char>>> Blocks() {
  std::vector<std::unique_ptr<std::vector<char>>> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(std::make_unique<std::vector<char>>(kBlock, 'x'));
  }
  return blocks;
}

// Asks until the process was idle for long enough.
bool IsReturned(IdleMemory& memory) {
  const auto patience = steady_clock::now() + std::chrono::seconds(60);
  while (steady_clock::now() < patience) {
    std::this_thread::sleep_for(milliseconds(20));
    if (memory.ReturnFreed()) return true;
  }
  return false;
}

TEST(IdleMemory, IsReturnedOnceTheProcessIsIdleAndOnlyWhenThereIsSome) {
  IdleMemory memory;
  const auto kept =
      std::move(Blocks().back());  // freed, but for one that keeps the heap from shrinking
  const int64_t before = ResidentBytes();
  const auto busy_until = steady_clock::now() + milliseconds(50);
  while (steady_clock::now() < busy_until) {
  }
  EXPECT_FALSE(memory.ReturnFreed()) << "this process was busy until now";

  EXPECT_TRUE(IsReturned(memory));
  EXPECT_LT(ResidentBytes(), before - kFreed / 2);
  EXPECT_EQ(kept->front(), 'x');

  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(memory.ReturnFreed()) << "nothing was freed";
}

// As when a flood's clients pause: the process is idle while it holds their messages.
TEST(IdleMemory, WhatIsFreedAfterAnIdleTimeIsReturnedAllTheSame) {
  IdleMemory memory;
  std::vector<std::unique_ptr<std::vector<char>>> blocks = Blocks();
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(milliseconds(20));  // idle
    memory.ReturnFreed();
  }
  const int64_t before = ResidentBytes();
  blocks.erase(blocks.begin(), blocks.end() - 1);
  EXPECT_TRUE(IsReturned(memory));
  EXPECT_LT(ResidentBytes(), before - kFreed / 2);
}
#endif

}  // namespace
}  // namespace atelier
