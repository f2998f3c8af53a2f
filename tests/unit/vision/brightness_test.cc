#include "common/vision/brightness.h"

#include <gtest/gtest.h>

#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

TEST(Brightness, MultipliesTruncatesAndClips) {
  const LevelTable table = BrightnessTable(1.4F);
  EXPECT_EQ(table[0], 0);
  EXPECT_EQ(table[101], 141);  // 141.4
  EXPECT_EQ(table[200], 255);
  const LevelTable unchanged = BrightnessTable(1.0F);
  for (size_t v = 0; v < 256; ++v) EXPECT_EQ(unchanged[v], v);
}

TEST(Brightness, StretchSpansTheWholeRangeFirst) {
  const LevelTable table = StretchedBrightnessTable(1.0F, 50, 150);
  EXPECT_EQ(table[50], 0);
  EXPECT_EQ(table[100], 127);
  EXPECT_EQ(table[150], 255);
  EXPECT_EQ(table[10], 0);
  EXPECT_EQ(table[240], 255);
}

TEST(Brightness, ArithmeticEqualsTheTableAtEveryLevel) {
  std::vector<uint8_t> all(256);
  for (size_t v = 0; v < 256; ++v) all[v] = static_cast<uint8_t>(v);
  for (int step = 0; step <= 1000; ++step) {
    const float factor = static_cast<float>(step) * 0.01F;
    std::vector<uint8_t> scaled = all;
    ScaleLevels(factor, scaled.data(), 256);
    const LevelTable table = BrightnessTable(factor);
    ASSERT_TRUE(std::equal(scaled.begin(), scaled.end(), table.begin())) << factor;
  }
}

TEST(Brightness, APictureOfOneLevelStretchesToBlack) {
  EXPECT_EQ(AdjustBrightness(SolidImage(4, 90), 1.3F, true).pixels, SolidImage(4, 0).pixels);
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
