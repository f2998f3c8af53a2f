#include "common/vision/cutmix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "tests/testing/status_matchers.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

v1::CutMixSpec Spec(v1::CutMixSpec::Variant variant) {
  v1::CutMixSpec spec;
  spec.set_variant(variant);
  return spec;
}

TEST(CutMix, NotebookSideWeightAndPlaceFollowTheFormula) {
  const v1::CutMixSpec spec = Spec(v1::CutMixSpec::NOTEBOOK);
  int clipped_low = 0;
  for (uint32_t sample = 0; sample < 2000; ++sample) {
    const CutMixDraw draw = DrawCutMix(spec, 200, 200, 42, 0, sample);
    ASSERT_TRUE(draw.apply);
    CounterRng rng(42, 0, sample, RandomOp::kCutMixBox);
    const double r = std::clamp(rng.Uniform(), 0.2, 0.8);
    EXPECT_EQ(draw.box.height, static_cast<int>(199 * r));
    EXPECT_EQ(draw.box.width, draw.box.height);
    EXPECT_DOUBLE_EQ(draw.partner_weight, r * r);
    EXPECT_GE(draw.box.top, 0);
    EXPECT_GE(draw.box.left, 0);
    EXPECT_LE(draw.box.top + draw.box.height, 200);
    EXPECT_LE(draw.box.left + draw.box.width, 200);
    clipped_low += r == 0.2 ? 1 : 0;
  }
  EXPECT_NEAR(clipped_low / 2000.0, 0.2, 0.04);  // Beta(1,1) below 0.2
}

TEST(CutMix, NotebookLabelIsThePastedAreaWithinTheRoundingOfTheSide) {
  for (uint32_t sample = 0; sample < 500; ++sample) {
    const CutMixDraw draw = DrawCutMix(Spec(v1::CutMixSpec::NOTEBOOK), 200, 200, 1, 3, sample);
    const double area = 1.0 * draw.box.height * draw.box.width / (200.0 * 200.0);
    // side = S*r - r - fraction, so the area lacks at most 2 * (r + 1) / S of r^2's side.
    EXPECT_LE(area, draw.partner_weight);
    EXPECT_NEAR(area, draw.partner_weight, 4.0 / 200.0);
  }
}

TEST(CutMix, TimmLabelIsExactlyTheClippedArea) {
  bool clipped = false;
  for (uint32_t sample = 0; sample < 2000; ++sample) {
    const CutMixDraw draw = DrawCutMix(Spec(v1::CutMixSpec::TIMM), 100, 100, 7, 0, sample);
    if (!draw.apply) continue;
    EXPECT_DOUBLE_EQ(draw.partner_weight, draw.box.height * draw.box.width / 10000.0);
    EXPECT_LE(draw.box.top + draw.box.height, 100);
    EXPECT_LE(draw.box.left + draw.box.width, 100);
    clipped |= draw.box.height != draw.box.width;
  }
  EXPECT_TRUE(clipped);
}

TEST(CutMix, TimmBoxIsCentredAndTruncatedAsTimm) {
  for (uint32_t item = 0; item < 50; ++item) {
    CounterRng rng(3, 0, item, RandomOp::kCutMixBox);
    CounterRng same(3, 0, item, RandomOp::kCutMixBox);
    const CutMixDraw draw = TimmBox(0.5, 64, 64, &rng);
    const int half = static_cast<int>(64 * std::sqrt(0.5)) / 2;  // 22
    const int row = static_cast<int>(same.UniformInt(64));
    EXPECT_EQ(draw.box.top, std::max(0, row - half));
    EXPECT_EQ(draw.box.top + draw.box.height, std::min(64, row + half));
  }
}

TEST(CutMix, NothingLeftToPasteMeansNothingIsApplied) {
  CounterRng rng(3, 0, 0, RandomOp::kCutMixBox);
  EXPECT_FALSE(TimmBox(0.99999, 64, 64, &rng).apply);
}

TEST(CutMix, ProbabilityDecidesPerPicture) {
  v1::CutMixSpec spec = Spec(v1::CutMixSpec::TIMM);
  spec.set_probability(0.25F);
  int applied = 0;
  for (uint32_t sample = 0; sample < 4000; ++sample) {
    applied += DrawCutMix(spec, 200, 200, 1, 0, sample).apply ? 1 : 0;
  }
  EXPECT_NEAR(applied / 4000.0, 0.25, 0.03);
}

TEST(CutMix, StopsAtTheSwitchOffEpoch) {
  v1::CutMixSpec spec = Spec(v1::CutMixSpec::NOTEBOOK);
  spec.set_off_after_epoch(2);
  EXPECT_TRUE(CutMixActive(spec, 0));
  EXPECT_TRUE(CutMixActive(spec, 1));
  EXPECT_FALSE(CutMixActive(spec, 2));
  EXPECT_FALSE(DrawCutMix(spec, 200, 200, 1, 2, 0).apply);
  spec.set_off_after_epoch(0);
  EXPECT_TRUE(CutMixActive(spec, 1000));
  EXPECT_FALSE(CutMixActive(Spec(v1::CutMixSpec::OFF), 0));
}

TEST(CutMix, BetaHasItsMeanAndVariance) {
  for (const double alpha : {0.2, 1.0, 4.0}) {
    double sum = 0;
    double squares = 0;
    constexpr int kDraws = 20000;
    for (uint32_t i = 0; i < kDraws; ++i) {
      CounterRng rng(11, 0, i, RandomOp::kCutMixBox);
      const double value = SymmetricBeta(alpha, &rng);
      ASSERT_GE(value, 0.0);
      ASSERT_LE(value, 1.0);
      sum += value;
      squares += (value - 0.5) * (value - 0.5);
    }
    EXPECT_NEAR(sum / kDraws, 0.5, 0.01) << alpha;
    EXPECT_NEAR(squares / kDraws, 1.0 / (4 * (2 * alpha + 1)), 0.005) << alpha;
  }
}

TEST(CutMix, MixedLabelIsAConvexCombination) {
  std::array<float, 3> label = {0, 1, 0};
  MixLabel(0.36, 2, label);
  EXPECT_FLOAT_EQ(label[1], 0.64F);
  EXPECT_FLOAT_EQ(label[2], 0.36F);
  std::array<float, 3> own = {1, 0, 0};
  MixLabel(0.25, 0, own);
  EXPECT_FLOAT_EQ(own[0], 1.0F);
}

TEST(CutMix, RefusesValuesOutOfRangeByName) {
  v1::CutMixSpec spec = Spec(v1::CutMixSpec::TIMM);
  EXPECT_THAT(ValidateCutMix(spec), IsOk());
  spec.set_probability(1.5F);
  EXPECT_THAT(ValidateCutMix(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("probability")));
  spec.set_probability(0);
  spec.set_alpha(-1);
  EXPECT_THAT(ValidateCutMix(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("alpha")));
  spec.set_alpha(1);
  spec.set_off_after_epoch(-1);
  EXPECT_THAT(ValidateCutMix(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("off_after_epoch")));
}

}  // namespace
}  // namespace atelier::vision
