#include "common/vision/grayscale.h"

#include <gtest/gtest.h>

#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

TEST(Grayscale, WeighsAsPillow) {
  const Image in{1, 5, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 200, 30}};
  // Pillow 13: Image.convert("L") of the same five pixels.
  EXPECT_EQ(ToGrayscale(in).pixels, (std::vector<uint8_t>{76, 150, 29, 255, 124}));
}

TEST(Grayscale, EqualChannelsStayAsTheyAre) {
  Image in = Image::Make(1, 256, 3);
  for (size_t i = 0; i < in.pixels.size(); ++i) in.pixels[i] = static_cast<uint8_t>(i / 3);
  const Image out = ToGrayscale(in);
  for (size_t v = 0; v < 256; ++v) EXPECT_EQ(out.pixels[v], v);
}

}  // namespace
}  // namespace atelier::vision
