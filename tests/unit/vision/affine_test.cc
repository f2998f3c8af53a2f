#include "common/vision/affine.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/vision/test_pictures.h"
#include "tests/unit/vision/transforms.h"

namespace atelier::vision {
namespace {

// Straight from the definition, in double.
Image ExactWarp(const Image& in, const AffineMatrix& m) {
  Image out = Image::Make(in.height, in.width, in.channels);
  size_t at = 0;
  for (int row = 0; row < in.height; ++row) {
    for (int col = 0; col < in.width; ++col) {
      const double y = std::clamp(m[0] * row + m[1] * col + m[2], 0.0, in.height - 1.0);
      const double x = std::clamp(m[3] * row + m[4] * col + m[5], 0.0, in.width - 1.0);
      const int y0 = std::min(static_cast<int>(y), std::max(0, in.height - 2));
      const int x0 = std::min(static_cast<int>(x), std::max(0, in.width - 2));
      const auto pixel = [&](int r, int c, int channel) {
        r = std::min(r, in.height - 1);
        c = std::min(c, in.width - 1);
        return static_cast<double>(
            in.pixels[static_cast<size_t>((r * in.width + c) * in.channels + channel)]);
      };
      for (int c = 0; c < in.channels; ++c) {
        const double wy = y - y0;
        const double wx = x - x0;
        const double value = (pixel(y0, x0, c) * (1 - wy) + pixel(y0 + 1, x0, c) * wy) * (1 - wx) +
                             (pixel(y0, x0 + 1, c) * (1 - wy) + pixel(y0 + 1, x0 + 1, c) * wy) * wx;
        out.pixels[at++] = static_cast<uint8_t>(std::lround(value));
      }
    }
  }
  return out;
}

TEST(Affine, EqualsTheDefinitionForManyMatricesSizesAndChannels) {
  CounterRng rng(5, 0, 0, RandomOp::kAffine);
  for (int i = 0; i < 200; ++i) {
    const int height = 1 + static_cast<int>(rng.UniformInt(40));
    const int width = 1 + static_cast<int>(rng.UniformInt(40));
    const int channels = i % 2 == 0 ? 3 : 1;
    const Image in = WavyImage(height, width, channels, i);
    const AffineParams params{rng.Uniform(-180, 180), rng.Uniform(-9, 9),  rng.Uniform(-9, 9),
                              rng.Uniform(-40, 40),   rng.Uniform(0.2, 2), rng.Uniform(0.2, 2)};
    const AffineMatrix matrix =
        FlipOutput(MakeAffineMatrix(params, height, width), height, width, i % 3 == 0, i % 5 == 0);
    EXPECT_EQ(PartBeyond(WarpAffine(in, matrix), ExactWarp(in, matrix), 2), 0.0)
        << height << "x" << width << "x" << channels << " case " << i;
  }
}

TEST(Affine, IdentityChangesNothing) {
  const Image in = NoiseImage(17, 23, 3, 1);
  EXPECT_EQ(WarpAffine(in, MakeAffineMatrix({}, 17, 23)).pixels, in.pixels);
}

TEST(Affine, HalfATurnAboutTheMiddleIsBothFlips) {
  const Image in = NoiseImage(18, 25, 3, 2);
  AffineParams half_turn;
  half_turn.theta_degrees = 180;
  EXPECT_EQ(WarpAffine(in, MakeAffineMatrix(half_turn, 18, 25)).pixels,
            PlainlyFlipped(in, true, true).pixels);
}

TEST(Affine, WholePixelShiftRepeatsTheEdge) {
  const Image in = NoiseImage(9, 8, 1, 3);
  AffineParams shift;
  shift.shift_cols = -3;
  const Image out = WarpAffine(in, MakeAffineMatrix(shift, 9, 8));
  for (int row = 0; row < 9; ++row) {
    for (int col = 0; col < 8; ++col) {
      EXPECT_EQ(out.pixels[static_cast<size_t>(row * 8 + col)],
                in.pixels[static_cast<size_t>(row * 8 + std::max(0, col - 3))]);
    }
  }
}

TEST(Affine, FlippedMatrixEqualsWarpThenFlip) {
  const Image in = WavyImage(31, 20, 3);
  const AffineMatrix matrix = MakeAffineMatrix({12, 1, -2, 4, 0.9, 1.1}, 31, 20);
  const Image then_flipped = PlainlyFlipped(WarpAffine(in, matrix), true, true);
  const Image at_once = WarpAffine(in, FlipOutput(matrix, 31, 20, true, true));
  EXPECT_EQ(PartBeyond(at_once, then_flipped, 1), 0.0);
}

TEST(Affine, ABoxIsThatPartOfTheWholeAndNothingElseIsTouched) {
  const Image in = WavyImage(40, 33, 3);
  const AffineMatrix matrix = MakeAffineMatrix({-14, 0, 0, 3, 0.8, 1.2}, 40, 33);
  const Image whole = WarpAffine(in, matrix);
  for (const Box& box :
       {Box{0, 0, 40, 33}, Box{5, 7, 11, 3}, Box{39, 32, 1, 1}, Box{0, 30, 40, 3}}) {
    Image target = SolidImage(64, 77);
    const int64_t stride = 64 * 3;
    WarpAffine(in, matrix, box, target.pixels.data() + 2 * stride + 3 * 3, stride);
    for (int row = 0; row < 64; ++row) {
      for (int i = 0; i < 64 * 3; ++i) {
        const int r = row - 2;
        const int c = i - 9;
        const bool inside = r >= 0 && r < box.height && c >= 0 && c < box.width * 3;
        const int expected =
            inside ? whole.pixels[static_cast<size_t>((box.top + r) * 33 * 3 + box.left * 3 + c)]
                   : 77;
        ASSERT_EQ(target.pixels[static_cast<size_t>(row * stride + i)], expected)
            << row << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace atelier::vision
