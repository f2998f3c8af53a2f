// Brightness as Keras' apply_brightness_shift, which goes through Pillow's ImageEnhance.Brightness.
#pragma once

#include <array>
#include <cstdint>

namespace atelier::vision {

// Each level v becomes trunc(factor * v) clamped to 0..255, in float32 as Pillow does it, by
// arithmetic that the compiler turns into vectors; factor >= 0.
void ScaleLevels(float factor, uint8_t* pixels, int64_t n);

// The same with Keras' stretch (TF 2.4): v is first trunc((v - min) / (max - min) * 255). Levels
// outside min..max are clamped to them, and a picture of one level becomes black.
using LevelTable = std::array<uint8_t, 256>;
LevelTable StretchedBrightnessTable(float factor, uint8_t min, uint8_t max);

// Lowest and highest level of n bytes, n > 0.
struct LevelRange {
  uint8_t min = 255;
  uint8_t max = 0;
};
void ExtendRange(const uint8_t* pixels, int64_t n, LevelRange* range);

void ApplyTable(const LevelTable& table, uint8_t* pixels, int64_t n);

}  // namespace atelier::vision
