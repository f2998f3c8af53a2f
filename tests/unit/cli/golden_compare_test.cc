#include "services/cli/model/golden_compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/testing/status_matchers.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::StatusIs;

TEST(CompareGolden, FeaturesAreRelativeToTheLargestProbabilitiesAreNot) {
  const nn::FloatArray expected{{1, 2}, {10, -20}};
  ASSERT_OK_AND_ASSIGN(const GoldenRow gap,
                       CompareGolden("gap", {{1, 2}, {10.002F, -20}}, expected));
  EXPECT_NEAR(gap.difference, 1e-4, 1e-6);
  EXPECT_TRUE(gap.agrees());
  ASSERT_OK_AND_ASSIGN(const GoldenRow probs,
                       CompareGolden("probs", {{1, 2}, {10.002F, -20}}, expected));
  EXPECT_NEAR(probs.difference, 2e-3, 1e-5);
  EXPECT_FALSE(probs.agrees());
}

TEST(CompareGolden, NaNDiffersAndShapesMustBeEqual) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ASSERT_OK_AND_ASSIGN(const GoldenRow row, CompareGolden("gap", {{1, 1}, {nan}}, {{1, 1}, {1}}));
  EXPECT_FALSE(row.agrees());
  EXPECT_THAT(CompareGolden("gap", {{1, 2}, {1, 1}}, {{2, 1}, {1, 1}}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(FirstDifferentLayer, MatchesNamesWithoutTheirSessionsCounters) {
  const std::string keras = R"({"layers": {"input_layer_3": [0, 1], "conv2d_7": [0.5, 2],
      "conv2d_8": [1, 1], "add_12": [0, 1], "block1_conv1": [0, 1]}})";
  std::vector<nn::LayerStatistics> ours = {{"conv2d", 0.501, 2},
                                           {"conv2d_1", 1, 1},
                                           {"only_here", 9, 9},
                                           {"add", 0, 1},
                                           {"block1_conv1", 0, 1}};
  ASSERT_OK_AND_ASSIGN(auto first, FirstDifferentLayer(ours, keras));
  EXPECT_FALSE(first.has_value());
  ours[1].mean = 1.01;
  ours[3].mean = 5;
  ASSERT_OK_AND_ASSIGN(first, FirstDifferentLayer(ours, keras));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->layer, "conv2d_1");
  EXPECT_EQ(first->expected_mean, 1);
}

TEST(FirstDifferentLayer, RefusesOtherDocuments) {
  for (const char* text : {"", "[]", "{}", R"({"layers": []})", R"({"layers": {"a": [1]}})",
                           R"({"layers": {"a": ["x", 1]}})"}) {
    EXPECT_THAT(FirstDifferentLayer({}, text), StatusIs(absl::StatusCode::kInvalidArgument))
        << text;
  }
}

}  // namespace
}  // namespace atelier::cli
