// Files of testdata/ and pictures made by formula.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/philox.h"
#include "common/vision/image.h"

namespace atelier::vision {

inline std::string TestDataPath(const std::string& name) {
  const char* root = std::getenv("ATELIER_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/tests/unit/vision/testdata/" + name;
}

inline std::string ReadTestData(const std::string& name) {
  std::ifstream in(TestDataPath(name), std::ios::binary);
  EXPECT_TRUE(in.good()) << "cannot read " << TestDataPath(name);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline Image ReadRaw(const std::string& name, int height, int width) {
  Image image = Image::Make(height, width, 3);
  const std::string bytes = ReadTestData(name);
  EXPECT_EQ(bytes.size(), image.pixels.size()) << name;
  std::copy_n(bytes.begin(), std::min(bytes.size(), image.pixels.size()), image.pixels.begin());
  return image;
}

// The comma-separated lines of a file.
inline std::vector<std::vector<std::string>> ReadRows(const std::string& name) {
  std::istringstream lines(ReadTestData(name));
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    rows.emplace_back();
    for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
  }
  return rows;
}

// Smooth, with an edge; every place differs from its mirror images.
inline Image WavyImage(int height, int width, int channels, int phase = 0) {
  Image image = Image::Make(height, width, channels);
  size_t at = 0;
  for (int row = 0; row < height; ++row) {
    for (int col = 0; col < width; ++col) {
      for (int c = 0; c < channels; ++c) {
        const double wave = 90 * std::sin((row + phase) / 6.0 + c) + 0.2 * row * col / 10.0;
        const double edge = col > width / 3 ? 20 : -15;
        image.pixels[at++] = static_cast<uint8_t>(std::clamp(110 + wave + edge, 0.0, 255.0));
      }
    }
  }
  return image;
}

inline Image NoiseImage(int height, int width, int channels, uint64_t seed) {
  Image image = Image::Make(height, width, channels);
  CounterRng rng(seed, 0, 0, RandomOp::kPreview);
  for (uint8_t& level : image.pixels) level = static_cast<uint8_t>(rng.UniformInt(256));
  return image;
}

inline Image SolidImage(int size, uint8_t level, int channels = 3) {
  Image image = Image::Make(size, size, channels);
  std::fill(image.pixels.begin(), image.pixels.end(), level);
  return image;
}

// The part of the values that differ by more than `levels`.
inline double PartBeyond(const Image& a, const Image& b, int levels) {
  if (a.pixels.size() != b.pixels.size() || a.pixels.empty()) return 1.0;
  size_t beyond = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    beyond += std::abs(int{a.pixels[i]} - int{b.pixels[i]}) > levels ? 1 : 0;
  }
  return static_cast<double>(beyond) / static_cast<double>(a.pixels.size());
}

}  // namespace atelier::vision
