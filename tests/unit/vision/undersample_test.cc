#include "common/vision/undersample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace atelier::vision {
namespace {

std::vector<int32_t> Labels() {
  std::vector<int32_t> labels;
  for (int i = 0; i < 60; ++i) labels.push_back(i % 6 == 0 ? 2 : (i % 3 == 0 ? 1 : 0));
  return labels;
}

TEST(Undersample, CutsEveryClassToTheSmallest) {
  const auto labels = Labels();
  std::array<int, 3> counts{};
  for (const uint32_t item : Undersample(labels, 42)) ++counts[static_cast<size_t>(labels[item])];
  EXPECT_EQ(counts, (std::array<int, 3>{10, 10, 10}));
}

TEST(Undersample, KeepsItemsOnceAscendingAndTheWholeSmallestClass) {
  const auto labels = Labels();
  const auto kept = Undersample(labels, 42);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  EXPECT_EQ(std::adjacent_find(kept.begin(), kept.end()), kept.end());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != 2) continue;
    EXPECT_TRUE(std::binary_search(kept.begin(), kept.end(), i));
  }
}

TEST(Undersample, IsSeeded) {
  EXPECT_EQ(Undersample(Labels(), 1), Undersample(Labels(), 1));
  EXPECT_NE(Undersample(Labels(), 1), Undersample(Labels(), 2));
}

TEST(Undersample, OfNothingIsNothing) { EXPECT_TRUE(Undersample({}, 1).empty()); }

}  // namespace
}  // namespace atelier::vision
