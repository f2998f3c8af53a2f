#include "common/base/philox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace atelier {
namespace {

using ::testing::ElementsAre;

// Known answers of the Random123 distribution (kat_vectors, philox4x32-10).
TEST(Philox4x32, GivesTheKnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(
      Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(
      Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(CounterRng, IsAPureFunctionOfItsKey) {
  CounterRng a(42, 3, 7, RandomOp::kAffine);
  CounterRng b(42, 3, 7, RandomOp::kAffine);
  CounterRng other_op(42, 3, 7, RandomOp::kBrightness);
  CounterRng other_epoch(42, 4, 7, RandomOp::kAffine);
  bool op_differs = false;
  bool epoch_differs = false;
  for (int i = 0; i < 20; ++i) {
    const uint32_t value = a.NextUint32();
    EXPECT_EQ(value, b.NextUint32());
    op_differs |= value != other_op.NextUint32();
    epoch_differs |= value != other_epoch.NextUint32();
  }
  EXPECT_TRUE(op_differs);
  EXPECT_TRUE(epoch_differs);
}

TEST(CounterRng, UniformIntStaysInRangeAndCoversIt) {
  CounterRng rng(1, 0, 0, RandomOp::kShuffle);
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen[rng.UniformInt(7)];
  for (const int count : seen) {
    EXPECT_GT(count, 850);
    EXPECT_LT(count, 1150);
  }
}

TEST(CounterRng, NormalHasMeanZeroAndVarianceOne) {
  CounterRng rng(1, 0, 0, RandomOp::kInitialise);
  double sum = 0;
  double squares = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.Normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.03);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.05);
}

TEST(Permutation, HoldsEveryIndexOnceAndDependsOnTheEpoch) {
  const auto first = Permutation(100, 42, 0, RandomOp::kShuffle);
  auto sorted = first;
  std::sort(sorted.begin(), sorted.end());
  for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(sorted[i], i);
  EXPECT_EQ(first, Permutation(100, 42, 0, RandomOp::kShuffle));
  EXPECT_NE(first, Permutation(100, 42, 1, RandomOp::kShuffle));
  EXPECT_NE(first, Permutation(100, 43, 0, RandomOp::kShuffle));
  EXPECT_TRUE(Permutation(0, 1, 0, RandomOp::kShuffle).empty());
}

}  // namespace
}  // namespace atelier
