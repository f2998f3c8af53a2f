#include "common/vision/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/test_pictures.h"
#include "tests/unit/vision/transforms.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

v1::AugmentationSpec Everything() {
  v1::AugmentationSpec spec;
  spec.set_horizontal_flip(true);
  spec.set_vertical_flip(true);
  spec.set_brightness_min(0.6F);
  spec.set_brightness_max(1.4F);
  spec.set_brightness_stretch(true);
  spec.set_rotation_degrees(15);
  spec.set_shear_degrees(0.1F);
  spec.set_zoom(0.2F);
  spec.set_width_shift(0.1F);
  spec.set_height_shift(0.1F);
  return spec;
}

TEST(Augment, NothingAskedForChangesNothing) {
  const Image in = NoiseImage(20, 20, 3, 1);
  EXPECT_EQ(Augmented(in, DrawAugmentation({}, 20, 20, 1, 2, 3)).pixels, in.pixels);
}

TEST(Augment, DrawsArePureAndDifferByEpochAndSample) {
  const auto theta = [](uint32_t epoch, uint32_t sample) {
    return DrawAugmentation(Everything(), 200, 200, 42, epoch, sample).affine.theta_degrees;
  };
  EXPECT_EQ(theta(3, 7), theta(3, 7));
  EXPECT_NE(theta(3, 7), theta(4, 7));
  EXPECT_NE(theta(3, 7), theta(3, 8));
}

TEST(Augment, DrawsAreAContract) {
  // Replicas of different builds must agree; a change here breaks every resumed run.
  const AugmentParams params = DrawAugmentation(Everything(), 200, 200, 42, 1, 5);
  const AugmentParams again = DrawAugmentation(Everything(), 200, 200, 42, 1, 5);
  CounterRng affine(42, 1, 5, RandomOp::kAffine);
  const auto symmetric = [&affine](double range) { return range * affine.Uniform(-1.0, 1.0); };
  EXPECT_DOUBLE_EQ(params.affine.theta_degrees, symmetric(15));
  EXPECT_DOUBLE_EQ(params.affine.shift_rows, symmetric(double{0.1F}) * 200);
  EXPECT_DOUBLE_EQ(params.affine.shift_cols, symmetric(double{0.1F}) * 200);
  EXPECT_DOUBLE_EQ(params.affine.shear_degrees, symmetric(double{0.1F}));
  EXPECT_DOUBLE_EQ(params.affine.zoom_rows, 1 + symmetric(double{0.2F}));
  EXPECT_DOUBLE_EQ(params.affine.zoom_cols, 1 + symmetric(double{0.2F}));
  EXPECT_EQ(params.brightness_factor, again.brightness_factor);
}

TEST(Augment, SwitchingOneOperationOffLeavesTheOthersDraws) {
  v1::AugmentationSpec without = Everything();
  without.set_horizontal_flip(false);
  without.set_brightness_max(0);
  without.set_brightness_min(0);
  without.set_zoom(0);
  const AugmentParams all = DrawAugmentation(Everything(), 200, 200, 9, 0, 4);
  const AugmentParams fewer = DrawAugmentation(without, 200, 200, 9, 0, 4);
  EXPECT_EQ(all.affine.theta_degrees, fewer.affine.theta_degrees);
  EXPECT_EQ(all.affine.shear_degrees, fewer.affine.shear_degrees);
  EXPECT_EQ(all.vertical_flip, fewer.vertical_flip);
  EXPECT_FALSE(fewer.brightness);
  EXPECT_EQ(fewer.affine.zoom_rows, 1.0);
}

TEST(Augment, DrawsFillTheirRangesEvenly) {
  double sum = 0;
  double lowest = 2;
  double highest = 0;
  int flips = 0;
  constexpr uint32_t kDraws = 4000;
  for (uint32_t sample = 0; sample < kDraws; ++sample) {
    const AugmentParams params = DrawAugmentation(Everything(), 200, 200, 1, 0, sample);
    sum += params.affine.zoom_rows;
    lowest = std::min(lowest, double{params.brightness_factor});
    highest = std::max(highest, double{params.brightness_factor});
    flips += params.horizontal_flip ? 1 : 0;
    ASSERT_LE(std::abs(params.affine.theta_degrees), 15);
    ASSERT_LE(std::abs(params.affine.shift_cols), 20.001);
  }
  EXPECT_NEAR(sum / kDraws, 1.0, 0.01);
  EXPECT_NEAR(flips / double{kDraws}, 0.5, 0.03);
  EXPECT_NEAR(lowest, 0.6, 0.01);
  EXPECT_NEAR(highest, 1.4, 0.01);
}

TEST(Augment, EqualsTheStepsOneByOne) {
  for (const int channels : {1, 3}) {
    const Image in = WavyImage(48, 48, channels);
    for (uint32_t sample = 0; sample < 20; ++sample) {
      const AugmentParams params = DrawAugmentation(Everything(), 48, 48, 3, 1, sample);
      Image steps = WarpAffine(in, MakeAffineMatrix(params.affine, 48, 48));
      steps = PlainlyFlipped(steps, params.horizontal_flip, params.vertical_flip);
      steps = PlainlyStretchedAndBrightened(steps, params.brightness_factor);
      EXPECT_EQ(PartBeyond(Augmented(in, params), steps, 4), 0.0) << sample;
    }
  }
}

TEST(Augment, FlipsMirrorPixelsAndKeepTheOrderOfTheirChannels) {
  const Image in{2, 2, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  AugmentParams params;
  params.horizontal_flip = true;
  EXPECT_EQ(Augmented(in, params).pixels,
            (std::vector<uint8_t>{4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9}));
  params = {};
  params.vertical_flip = true;
  EXPECT_EQ(Augmented(in, params).pixels,
            (std::vector<uint8_t>{7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6}));
}

TEST(Augment, FlipsAloneAreExact) {
  const Image in = NoiseImage(13, 13, 3, 8);
  for (const bool horizontal : {false, true}) {
    for (const bool vertical : {false, true}) {
      AugmentParams params;
      params.horizontal_flip = horizontal;
      params.vertical_flip = vertical;
      EXPECT_EQ(Augmented(in, params).pixels, PlainlyFlipped(in, horizontal, vertical).pixels);
    }
  }
}

TEST(Augment, APictureOfOneLevelStretchesToBlack) {
  AugmentParams params;
  params.brightness = true;
  params.brightness_factor = 1.3F;
  params.brightness_stretch = true;
  EXPECT_EQ(Augmented(SolidImage(4, 90), params).pixels, SolidImage(4, 0).pixels);
}

TEST(Augment, ABoxIsThatPartOfTheWholePicture) {
  const Image in = WavyImage(48, 48, 3);
  for (const bool stretch : {false, true}) {
    v1::AugmentationSpec spec = Everything();
    spec.set_brightness_stretch(stretch);
    for (uint32_t sample = 0; sample < 8; ++sample) {
      AugmentParams params = DrawAugmentation(spec, 48, 48, 5, 0, sample);
      if (sample == 7) params.affine = {};
      const Image whole = Augmented(in, params);
      const Box box{10, 5, 21, 17};
      std::vector<uint8_t> part(static_cast<size_t>(box.height * box.width * 3));
      AugmentBox(in, params, box, part.data(), box.width * 3);
      for (int row = 0; row < box.height; ++row) {
        for (int i = 0; i < box.width * 3; ++i) {
          const int expected =
              whole.pixels[static_cast<size_t>(((box.top + row) * 48 + box.left) * 3 + i)];
          ASSERT_EQ(part[static_cast<size_t>(row * box.width * 3 + i)], expected)
              << sample << " stretch " << stretch;
        }
      }
    }
  }
}

TEST(Augment, RefusesValuesOutOfRangeByName) {
  EXPECT_THAT(ValidateAugmentation(Everything()), IsOk());
  v1::AugmentationSpec spec;
  spec.set_zoom(1.0F);
  EXPECT_THAT(ValidateAugmentation(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("zoom")));
  spec.Clear();
  spec.set_rotation_degrees(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(ValidateAugmentation(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rotation_degrees")));
  spec.Clear();
  spec.set_brightness_min(1.2F);
  spec.set_brightness_max(0.8F);
  EXPECT_THAT(ValidateAugmentation(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("brightness_min")));
}

TEST(Augment, TheTwoStreamsHaveTheirOwnSeeds) {
  EXPECT_EQ(StreamSeed(42, SampleStream::kMain), 42U);
  EXPECT_NE(StreamSeed(42, SampleStream::kPartner), 42U);
  EXPECT_NE(StreamSeed(42, SampleStream::kPartner), StreamSeed(43, SampleStream::kPartner));
}

}  // namespace
}  // namespace atelier::vision
