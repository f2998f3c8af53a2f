#include "common/vision/resize.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

v1::ImageSpec Spec(int size, v1::ResizeFilter filter) {
  v1::ImageSpec spec;
  spec.set_size(size);
  spec.set_filter(filter);
  return spec;
}

// testdata/make_pictures.py: the same hash of the indices Pillow 13 takes.
TEST(Resize, NearestTakesPillowsPixels) {
  std::istringstream in(ReadTestData("pillow_nearest.txt"));
  int cases = 0;
  uint32_t expected = 0;
  for (int from = 0, to = 0; in >> from >> to >> expected; ++cases) {
    // Levels low and high byte of the column's index, in two of the channels.
    Image image = Image::Make(1, from, 3);
    for (int col = 0; col < from; ++col) {
      image.pixels[static_cast<size_t>(col * 3)] = static_cast<uint8_t>(col);
      image.pixels[static_cast<size_t>(col * 3 + 1)] = static_cast<uint8_t>(col >> 8);
    }
    const Image out = Resize(image, Spec(to, v1::NEAREST));
    ASSERT_EQ(out.height, to);
    uint32_t hash = 0;
    for (int col = 0; col < to; ++col) {
      const uint8_t* pixel = &out.pixels[static_cast<size_t>(((to - 1) * to + col) * 3)];
      hash = hash * 31 + pixel[0] + 256U * pixel[1];
    }
    EXPECT_EQ(hash, expected) << from << " to " << to;
  }
  EXPECT_EQ(cases, 200);
}

TEST(Resize, AreaIsTheMeanOfWhatAPixelCovers) {
  const Image image{32, 32, 1, [] {
                      std::vector<uint8_t> pixels(32 * 32);
                      for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = i % 2 == 0 ? 0 : 200;
                      return pixels;
                    }()};
  EXPECT_EQ(Resize(image, Spec(16, v1::AREA)).pixels, SolidImage(16, 100, 1).pixels);
  EXPECT_EQ(Resize(image, Spec(16, v1::RESIZE_FILTER_UNSPECIFIED)).pixels,
            SolidImage(16, 100, 1).pixels);
}

TEST(Resize, AreaEnlargesAsBilinear) {
  const Image image = NoiseImage(20, 20, 3, 6);
  EXPECT_EQ(Resize(image, Spec(50, v1::AREA)).pixels, Resize(image, Spec(50, v1::BILINEAR)).pixels);
}

TEST(Resize, AreaAveragesTheAxisThatShrinksOnly) {
  // 16 wide (kept), 64 high with rows 0, 200, 0, 200: shrinking by four averages them out.
  Image image = Image::Make(64, 10, 1);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = (i / 10) % 2 == 0 ? 0 : 200;
  EXPECT_EQ(Resize(image, Spec(16, v1::AREA)).pixels, SolidImage(16, 100, 1).pixels);
}

TEST(Resize, EveryFilterGivesTheAskedShapeAndKeepsFlatPictures) {
  for (const auto filter : {v1::NEAREST, v1::BILINEAR, v1::AREA}) {
    for (const int channels : {1, 3}) {
      Image flat = Image::Make(37, 90, channels);
      std::fill(flat.pixels.begin(), flat.pixels.end(), uint8_t{123});
      EXPECT_EQ(Resize(flat, Spec(64, filter)).pixels, SolidImage(64, 123, channels).pixels);
    }
  }
}

TEST(Resize, SameSizeIsTheSamePicture) {
  const Image image = NoiseImage(24, 24, 3, 2);
  EXPECT_EQ(Resize(image, Spec(24, v1::AREA)).pixels, image.pixels);
}

}  // namespace
}  // namespace atelier::vision
