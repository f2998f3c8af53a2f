#include "common/vision/area_resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

namespace atelier::vision {
namespace {

// Output i is the sum of weights[first_weight + k] * input[first + k], 0 <= k < count.
struct Taps {
  int first;
  int count;
  int first_weight;
};

struct Axis {
  std::vector<Taps> taps;
  std::vector<float> weights;
};

// Parts of a pixel below this are left out, as in OpenCV.
constexpr double kNegligible = 1e-3;

void AddAreaTaps(int from, double begin, double scale, Axis* axis) {
  const double end = std::min(begin + scale, static_cast<double>(from));
  const double length = end - begin;
  Taps taps{static_cast<int>(begin), 0, static_cast<int>(axis->weights.size())};
  if (taps.first + 1 - begin < kNegligible) ++taps.first;
  for (int i = taps.first; i < from && end - i > kNegligible; ++i, ++taps.count) {
    const double part = std::min(end, i + 1.0) - std::max(begin, static_cast<double>(i));
    axis->weights.push_back(static_cast<float>(part / length));
  }
  axis->taps.push_back(taps);
}

void AddLinearTaps(int from, double centre, Axis* axis) {
  const double position = std::clamp(centre, 0.0, from - 1.0);
  const int first = std::min(static_cast<int>(position), std::max(0, from - 2));
  const int first_weight = static_cast<int>(axis->weights.size());
  const float second = static_cast<float>(position - first);
  axis->weights.push_back(1.0F - second);
  if (from > 1) axis->weights.push_back(second);
  axis->taps.push_back({first, from > 1 ? 2 : 1, first_weight});
}

Axis MakeAxis(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  Axis axis;
  for (int i = 0; i < to; ++i) {
    if (from >= to) {
      AddAreaTaps(from, i * scale, scale, &axis);
    } else {
      AddLinearTaps(from, (i + 0.5) * scale - 0.5, &axis);
    }
  }
  return axis;
}

void SumRows(const Image& image, const Taps& taps, const float* weights, float* line) {
  const int64_t n = int64_t{image.width} * image.channels;
  const uint8_t* row = image.pixels.data() + taps.first * n;
  for (int64_t i = 0; i < n; ++i) line[i] = weights[0] * static_cast<float>(row[i]);
  for (int k = 1; k < taps.count; ++k) {
    row += n;
    const float weight = weights[k];
    for (int64_t i = 0; i < n; ++i) line[i] += weight * static_cast<float>(row[i]);
  }
}

uint8_t ToLevel(float value) {
  return static_cast<uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F));
}

void SumColumnsGrey(const Axis& axis, const float* line, uint8_t* out) {
  for (const Taps& taps : axis.taps) {
    const float* weights = axis.weights.data() + taps.first_weight;
    const float* at = line + taps.first;
    float sum = 0;
    for (int k = 0; k < taps.count; ++k) sum += weights[k] * at[k];
    *out++ = ToLevel(sum);
  }
}

// Three channels and one lane to spare, in one register where the machine has such.
using Lanes = float __attribute__((vector_size(16)));

void SumColumnsRgb(const Axis& axis, const float* line, uint8_t* out) {
  for (const Taps& taps : axis.taps) {
    const float* weights = axis.weights.data() + taps.first_weight;
    const float* at = line + ptrdiff_t{taps.first} * 3;
    Lanes sum = {0, 0, 0, 0};
    for (int k = 0; k < taps.count; ++k, at += 3) {
      Lanes pixel;
      std::memcpy(&pixel, at, sizeof(pixel));
      sum += pixel * weights[k];
    }
    for (int c = 0; c < 3; ++c) *out++ = ToLevel(sum[c]);
  }
}

}  // namespace

Image ResizeByArea(const Image& image, int size) {
  const Axis rows = MakeAxis(image.height, size);
  const Axis cols = MakeAxis(image.width, size);
  Image out = Image::Make(size, size, image.channels);
  // One float beyond the last pixel is loaded and not used.
  std::vector<float> line(static_cast<size_t>(image.width) * static_cast<size_t>(image.channels) +
                          1);
  uint8_t* to = out.pixels.data();
  for (const Taps& taps : rows.taps) {
    SumRows(image, taps, rows.weights.data() + taps.first_weight, line.data());
    if (image.channels == 3) {
      SumColumnsRgb(cols, line.data(), to);
    } else {
      SumColumnsGrey(cols, line.data(), to);
    }
    to += int64_t{size} * image.channels;
  }
  return out;
}

}  // namespace atelier::vision
