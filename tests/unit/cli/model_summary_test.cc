#include "services/cli/model/model_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/testing/status_matchers.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const LayerRow& Find(const ModelSummary& summary, std::string_view name) {
  return *std::find_if(summary.layers.begin(), summary.layers.end(),
                       [&](const LayerRow& row) { return row.name == name; });
}

// keras.applications.Xception(include_top=False).summary(): 132 layers.
TEST(ModelSummary, XceptionsTableIsKeras) {
  ASSERT_OK_AND_ASSIGN(const ModelSummary summary, SummaryOf("xception", 0, 3));
  EXPECT_EQ(summary.backbone.parameters, 20861480);
  EXPECT_EQ(summary.backbone.trainable, 20806952);
  EXPECT_EQ(summary.layers.size(), 132);
  const LayerRow& separable = Find(summary, "block2_sepconv1");
  EXPECT_EQ(separable.type, "SeparableConv2D");
  EXPECT_THAT(separable.shape, ElementsAre(147, 147, 128));
  EXPECT_EQ(separable.parameters, 64 * 9 + 64 * 128);
  EXPECT_THAT(separable.inputs, ElementsAre("block1_conv2_act"));
  EXPECT_THAT(Find(summary, "block14_sepconv2_act").shape, ElementsAre(10, 10, 2048));
  const std::string text = SummaryAsText(summary);
  EXPECT_THAT(text, HasSubstr("block2_sepconv1 (SeparableConv2D)"));
  EXPECT_THAT(text, HasSubstr("20,861,480"));
}

// Every layer's multiply-adds by hand, at 32 pixels.
TEST(ModelSummary, CountsFlopByMultiplyAdds) {
  constexpr int64_t kConv1 = 16 * 16 * 16 * 3 * 9;
  constexpr int64_t kShortcut = 8 * 8 * 32 * 16;
  constexpr int64_t kSeparable1 = 16 * 16 * (16 * 9 + 16 * 32);
  constexpr int64_t kSeparable2 = 8 * 8 * (32 * 9 + 32 * 64);
  ASSERT_OK_AND_ASSIGN(const ModelSummary summary, SummaryOf("tiny_cnn", 32, 3));
  EXPECT_EQ(summary.backbone.flop, 2 * (kConv1 + kShortcut + kSeparable1 + kSeparable2));
}

TEST(ModelSummary, ListsEveryBackboneAtItsOwnOrAGivenSize) {
  const std::vector<BackboneRow> own = BackboneRows(0);
  ASSERT_EQ(own.size(), nn::Backbones().size());
  for (const BackboneRow& row : own) {
    EXPECT_EQ(row.size, row.info.default_size);
    EXPECT_GT(row.flop, 0) << row.info.id;
    EXPECT_GT(row.parameters, row.trainable) << row.info.id;
  }
  const std::vector<BackboneRow> small = BackboneRows(32);
  EXPECT_EQ(small.front().flop, 0) << "Xception takes no 32 pixels";
  EXPECT_GT(small.back().flop, 0);
}

TEST(ModelSummary, RefusesUnknownNamesSizesAndChannels) {
  EXPECT_THAT(SummaryOf("resnet", 0, 3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("xception")));
  EXPECT_THAT(SummaryOf("xception", 70, 3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("71..4096")));
  EXPECT_THAT(SummaryOf("xception", 5000, 3), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(SummaryOf("xception", 71, 2), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ModelSummary, GreyPicturesNeedASmallerFirstKernel) {
  ASSERT_OK_AND_ASSIGN(const ModelSummary grey, SummaryOf("xception", 71, 1));
  EXPECT_EQ(grey.backbone.parameters, 20861480 - 2 * 9 * 32);
  EXPECT_THAT(grey.layers.front().shape, ElementsAre(71, 71, 1));
}

TEST(ModelSummary, JsonNamesVariablesInBothLayouts) {
  ASSERT_OK_AND_ASSIGN(const ModelSummary summary, SummaryOf("tiny_cnn", 0, 3));
  const auto json = SummaryAsJson(summary);
  const auto& first = json["layers"][1]["variables"][0];
  EXPECT_EQ(first["name"], "conv1/kernel");
  EXPECT_THAT(first["shape"].get<std::vector<int>>(), ElementsAre(16, 3, 3, 3));
  EXPECT_THAT(first["keras_shape"].get<std::vector<int>>(), ElementsAre(3, 3, 3, 16));
}

}  // namespace
}  // namespace atelier::cli
