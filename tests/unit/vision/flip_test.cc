#include "common/vision/flip.h"

#include <gtest/gtest.h>

#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

TEST(Flip, MirrorsPixelsAndKeepsTheOrderOfTheirChannels) {
  const Image in{2, 2, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  EXPECT_EQ(FlipHorizontal(in).pixels,
            (std::vector<uint8_t>{4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9}));
  EXPECT_EQ(FlipVertical(in).pixels, (std::vector<uint8_t>{7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6}));
}

TEST(Flip, TwiceIsTheSamePicture) {
  const Image in = NoiseImage(7, 5, 1, 4);
  EXPECT_EQ(FlipHorizontal(FlipHorizontal(in)).pixels, in.pixels);
  EXPECT_EQ(FlipVertical(FlipVertical(in)).pixels, in.pixels);
}

}  // namespace
}  // namespace atelier::vision
