#include "services/cli/export/weights_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/testing/status_matchers.h"
#include "tests/unit/export/made_weights.h"

namespace atelier::exporting {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kMisfit = absl::StatusCode::kFailedPrecondition;

class WeightsFileTest : public ::testing::Test {
 protected:
  std::string File(const std::string& backbone = "tiny_cnn") const {
    return MadeSafetensors(tensors_, shapes_, backbone);
  }
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, std::vector<float>> tensors_ =
      MadeTensors(*nn::BuildBackboneGraph("tiny_cnn"), {8, 3}, &shapes_);
};

TEST_F(WeightsFileTest, KnowsBackboneHeadAndChannels) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile whole, ReadWeights(File(), {}));
  EXPECT_EQ(whole.backbone.id, "tiny_cnn");
  EXPECT_EQ(whole.head.hidden_units, 8);
  EXPECT_EQ(whole.head.classes, 3);
  EXPECT_EQ(whole.channels, 3);
  ASSERT_OK_AND_ASSIGN(const WeightsFile bare,
                       ReadWeights(File(), {.backbone = "", .head = false}));
  EXPECT_EQ(bare.head.classes, 0);
  EXPECT_EQ(bare.tensors.size(), bare.graph.variables.size());
  ASSERT_OK_AND_ASSIGN(const WeightsFile grey, ReadWeights(MadeWeights("tiny_cnn", {0, 2}, 1), {}));
  EXPECT_EQ(grey.channels, 1);
  EXPECT_EQ(grey.head.hidden_units, 0);
  EXPECT_EQ(grey.head.classes, 2);
}

TEST_F(WeightsFileTest, SafetensorsComeBackBitByBit) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(File(), {}));
  const std::string copy = ToSafetensors(weights, {{"backbone", "tiny_cnn"}});
  EXPECT_EQ(copy, File());
}

TEST_F(WeightsFileTest, NamesTheFirstMisfit) {
  tensors_.erase("backbone/conv1/kernel");
  EXPECT_THAT(ReadWeights(File(), {}), StatusIs(kMisfit, HasSubstr("conv1/kernel\" is missing")));
  tensors_["backbone/conv1/kernel"] = {1};
  shapes_["backbone/conv1/kernel"] = {1};
  EXPECT_THAT(ReadWeights(File(), {}),
              StatusIs(kMisfit, HasSubstr("is [1], expected [16, 3, 3, 3]")));
}

TEST_F(WeightsFileTest, RefusesOtherHeadsAndTensorsThatAreTooMany) {
  tensors_["head/extra"] = {1};
  shapes_["head/extra"] = {1};
  EXPECT_THAT(ReadWeights(File(), {}), StatusIs(kMisfit, HasSubstr("there are")));
  tensors_.erase("head/extra");
  tensors_["head/predictions/bias"] = {1};
  shapes_["head/predictions/bias"] = {1};
  EXPECT_THAT(ReadWeights(File(), {}), StatusIs(kMisfit, HasSubstr("head/predictions/bias")));
}

TEST_F(WeightsFileTest, RefusesNaNAndFilesOfNoBackbone) {
  EXPECT_THAT(ReadWeights(File(""), {}), StatusIs(kInvalid, HasSubstr("--backbone")));
  EXPECT_THAT(ReadWeights(File("resnet"), {}), StatusIs(kInvalid, HasSubstr("xception")));
  EXPECT_THAT(ReadWeights("", {}), StatusIs(kInvalid));
  EXPECT_THAT(ReadWeights(std::string(100, 'x'), {}), StatusIs(kInvalid));
  tensors_["backbone/conv1/kernel"][5] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(ReadWeights(File(), {}), StatusIs(kInvalid, HasSubstr("conv1/kernel")));
}

}  // namespace
}  // namespace atelier::exporting
