#include "common/vision/brightness.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/unit/vision/transforms.h"

namespace atelier::vision {
namespace {

std::vector<uint8_t> AllLevels() {
  std::vector<uint8_t> all(256);
  std::iota(all.begin(), all.end(), uint8_t{0});
  return all;
}

TEST(Brightness, MultipliesTruncatesAndClips) {
  std::vector<uint8_t> levels = AllLevels();
  ScaleLevels(1.0F, levels.data(), 256);
  EXPECT_EQ(levels, AllLevels());
  ScaleLevels(1.4F, levels.data(), 256);
  EXPECT_EQ(levels[0], 0);
  EXPECT_EQ(levels[101], 141);  // 141.4
  EXPECT_EQ(levels[200], 255);
}

TEST(Brightness, StretchSpansTheWholeRangeFirst) {
  const LevelTable table = StretchedBrightnessTable(1.0F, 50, 150);
  EXPECT_EQ(table[50], 0);
  EXPECT_EQ(table[100], 127);
  EXPECT_EQ(table[150], 255);
  EXPECT_EQ(table[10], 0);
  EXPECT_EQ(table[240], 255);
}

TEST(Brightness, ArithmeticAndTableEqualThePlainStepsAtEveryLevel) {
  const Image all{1, 256, 1, AllLevels()};
  for (int step = 0; step <= 1000; ++step) {
    const float factor = static_cast<float>(step) * 0.01F;
    std::vector<uint8_t> scaled = all.pixels;
    ScaleLevels(factor, scaled.data(), 256);
    const Image stretched = PlainlyStretchedAndBrightened(all, factor);
    const LevelTable table = StretchedBrightnessTable(factor, 0, 255);
    for (size_t v = 0; v < 256; ++v) {
      ASSERT_EQ(scaled[v], PlainlyBrightened(factor, static_cast<int>(v))) << factor << " " << v;
      ASSERT_EQ(table[v], stretched.pixels[v]) << factor << " " << v;
    }
  }
}

TEST(Brightness, RangeExtendsOverSeveralParts) {
  LevelRange range;
  const uint8_t first[] = {9, 7};
  const uint8_t second[] = {8, 200};
  ExtendRange(first, 2, &range);
  ExtendRange(second, 2, &range);
  EXPECT_EQ(range.min, 7);
  EXPECT_EQ(range.max, 200);
}

}  // namespace
}  // namespace atelier::vision
