// Each transform of what training does, alone, against Keras-Preprocessing 1.1.2 (TF 2.4), with
// equal parameters: tests/golden/make_keras_preprocessing_reference.py made the references.
#include <gtest/gtest.h>

#include <string>

#include "common/vision/affine.h"
#include "tests/unit/vision/test_pictures.h"
#include "tests/unit/vision/transforms.h"

namespace atelier::vision {
namespace {

constexpr int kHeight = 24;
constexpr int kWidth = 32;

Image Apply(const Image& input, const std::vector<std::string>& row) {
  const auto number = [&row](size_t i) { return std::stod(row.at(i + 2)); };
  if (row[1] == "affine") {
    const AffineParams params{number(1), number(2), number(3), number(4), number(5), number(6)};
    return WarpAffine(input, MakeAffineMatrix(params, kHeight, kWidth, number(0)));
  }
  AugmentParams params;
  params.horizontal_flip = row[1] == "flip_horizontal";
  params.vertical_flip = row[1] == "flip_vertical";
  params.brightness = row[1] == "brightness";
  if (params.brightness) {
    params.brightness_factor = static_cast<float>(number(0));
    params.brightness_stretch = number(1) != 0;
  }
  return Augmented(input, params);
}

TEST(KerasReference, EachTransformAloneIsWithinTwoLevelsOnNinetyNinePercent) {
  const Image input = ReadRaw("keras/input.rgb", kHeight, kWidth);
  const auto rows = ReadRows("keras/cases.csv");
  ASSERT_GE(rows.size(), 15U);
  for (const auto& row : rows) {
    SCOPED_TRACE(row[0]);
    const Image expected = ReadRaw("keras/" + row[0] + ".rgb", kHeight, kWidth);
    const Image found = Apply(input, row);
    EXPECT_LE(PartBeyond(found, expected, 2), 0.01);
    EXPECT_LE(PartBeyond(found, expected, 1), 0.01) << "1/256 of a pixel leaves one level";
  }
}

TEST(KerasReference, BrightnessAndFlipsAreEqualToTheLevel) {
  const Image input = ReadRaw("keras/input.rgb", kHeight, kWidth);
  for (const auto& row : ReadRows("keras/cases.csv")) {
    if (row[1] == "affine") continue;
    EXPECT_EQ(Apply(input, row).pixels, ReadRaw("keras/" + row[0] + ".rgb", kHeight, kWidth).pixels)
        << row[0];
  }
}

}  // namespace
}  // namespace atelier::vision
