#include "common/vision/brightness.h"

#include <algorithm>

namespace atelier::vision {
namespace {

// Pillow's Image.blend of black and the picture: float32 product, truncated, clamped.
uint8_t Scale(float factor, uint8_t level) {
  const float value = factor * static_cast<float>(level);
  if (value <= 0.0F) return 0;
  if (value >= 255.0F) return 255;
  return static_cast<uint8_t>(value);
}

// Keras' array_to_img(scale=True) in float32.
uint8_t Stretch(uint8_t level, uint8_t min, uint8_t max) {
  if (max <= min) return 0;
  const float part = static_cast<float>(level - min) / static_cast<float>(max - min);
  return static_cast<uint8_t>(part * 255.0F);
}

}  // namespace

LevelTable StretchedBrightnessTable(float factor, uint8_t min, uint8_t max) {
  LevelTable table{};
  for (size_t v = 0; v < table.size(); ++v) {
    const uint8_t level = std::min(std::max(static_cast<uint8_t>(v), min), std::max(min, max));
    table[v] = Scale(factor, Stretch(level, min, max));
  }
  return table;
}

void ExtendRange(const uint8_t* pixels, int64_t n, LevelRange* range) {
  uint8_t low = range->min;
  uint8_t high = range->max;
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, pixels[i]);
    high = std::max(high, pixels[i]);
  }
  *range = {low, high};
}

void ApplyTable(const LevelTable& table, uint8_t* pixels, int64_t n) {
  for (int64_t i = 0; i < n; ++i) pixels[i] = table[pixels[i]];
}

void ScaleLevels(float factor, uint8_t* pixels, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float value = factor * static_cast<float>(pixels[i]);
    pixels[i] = static_cast<uint8_t>(static_cast<int>(value < 255.0F ? value : 255.0F));
  }
}

}  // namespace atelier::vision
