// Safetensors -> Keras -> safetensors, without Keras: the converter reads what the exporter wrote.
// tests/golden/check_exports.py has Keras itself read it.
#include "services/cli/export/keras_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/base/files.h"
#include "nlohmann/json.hpp"
#include "services/cli/convert/converter.h"
#include "services/cli/export/keras_config.h"
#include "services/cli/export/keras_layers.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/export/made_weights.h"

namespace atelier::exporting {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

// Names, shapes and bytes of two files.
void ExpectSameTensors(const std::string& bytes, const std::string& original) {
  ASSERT_OK_AND_ASSIGN(const nn::Safetensors back, nn::ParseSafetensors(bytes));
  ASSERT_OK_AND_ASSIGN(const nn::Safetensors expected, nn::ParseSafetensors(original));
  ASSERT_EQ(back.tensors.size(), expected.tensors.size());
  for (const auto& [name, view] : expected.tensors) {
    ASSERT_TRUE(back.tensors.contains(name)) << name;
    EXPECT_EQ(back.tensors.at(name).shape, view.shape) << name;
    EXPECT_TRUE(back.tensors.at(name).bytes == view.bytes) << name;
  }
}

class KerasExportTest : public ::testing::TestWithParam<std::string> {
 protected:
  // Exports, converts back (the backbone is guessed) and compares.
  void ExpectLossless(HeadUnits head, const std::string& file) {
    const std::string original = MadeWeights(GetParam(), head);
    ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(original, {}));
    ASSERT_THAT(ExportKeras(weights, true, dir_.path() / file), IsOk());
    const auto back = dir_.path() / "back.safetensors";
    ASSERT_OK_AND_ASSIGN(const convert::ConvertReport report,
                         convert::Convert({dir_.path() / file, "", "", true, back}));
    EXPECT_EQ(report.mapping.backbone, GetParam());
    EXPECT_TRUE(report.mapping.left_out.empty());
    ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(back));
    ExpectSameTensors(bytes, original);
  }
  testing::TempDir dir_;
};

TEST_P(KerasExportTest, BackboneComesBackBitByBit) { ExpectLossless({}, "b.weights.h5"); }
TEST_P(KerasExportTest, MemberComesBackBitByBit) { ExpectLossless({8, 3}, "m.weights.h5"); }
TEST_P(KerasExportTest, ArchiveComesBackBitByBit) { ExpectLossless({8, 3}, "m.keras"); }

std::vector<std::string> EveryBackbone() {
  std::vector<std::string> names;
  for (const nn::BackboneInfo& info : nn::Backbones()) names.push_back(info.id);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Catalogue, KerasExportTest, ::testing::ValuesIn(EveryBackbone()),
                         [](const auto& instance) { return instance.param; });

TEST(KerasExport, RefusesNamesThatKerasWouldNotOpenAndLeavesNothing) {
  const testing::TempDir dir;
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(MadeWeights("tiny_cnn", {}), {}));
  EXPECT_THAT(ExportKeras(weights, true, dir.path() / "w.h5"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(".weights.h5")));
  EXPECT_THAT(ExportKeras(weights, true, dir.path() / "absent" / "w.weights.h5"), Not(IsOk()));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(KerasExport, ConfigNamesEveryLayerOnceAndNoSlash) {
  for (const std::string& name : EveryBackbone()) {
    ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(MadeWeights(name, {8, 3}), {}));
    const auto config = nlohmann::json::parse(KerasConfig(weights, true));
    std::set<std::string> seen;
    for (const auto& layer : config["config"]["layers"]) {
      EXPECT_TRUE(seen.insert(layer["name"]).second) << layer["name"];
      EXPECT_THAT(layer["name"].get<std::string>(), Not(HasSubstr("/")));
      for (const auto& node : layer["inbound_nodes"]) {
        const auto& args = node["args"];
        for (const auto& tensor : args[0].is_array() ? args[0] : args) {
          EXPECT_TRUE(seen.contains(tensor["config"]["keras_history"][0])) << layer["name"];
        }
      }
    }
    EXPECT_GE(seen.size(), KerasLayers(weights.graph).size() + 3) << name;
  }
}

TEST(KerasScript, BuildsTheModelInThreeLines) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights,
                       ReadWeights(MadeWeights("xception", {512, 7}), {}));
  ScriptOptions options;
  options.file = "a \"b\".weights.h5";
  options.size = 200;
  options.dropout = 0.5;
  options.preprocessing.mean = {127.5F, 127.5F, 127.5F};
  EXPECT_EQ(KerasScript(weights, options),
            "# takes float32 [n, 200, 200, 3], (x - [127.5, 127.5, 127.5]) / [1, 1, 1] of RGB x = "
            "0..255\n"
            "import keras\n"
            "model = keras.Sequential([keras.applications.Xception(include_top=False, "
            "weights=None, input_shape=(200, 200, 3)), keras.layers.GlobalAveragePooling2D(), "
            "keras.layers.Dense(512, \"relu\"), keras.layers.Dropout(0.5), keras.layers.Dense(7, "
            "\"softmax\")])\n"
            "model.load_weights(\"a \\\"b\\\".weights.h5\")\n");
  options.file = "m.keras";
  EXPECT_THAT(KerasScript(weights, options), HasSubstr("keras.models.load_model(\"m.keras\")"));
}

TEST(KerasScript, SaysWhatKerasDoesNotHave) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile lite,
                       ReadWeights(MadeWeights("efficientnet_lite0", {}), {}));
  ScriptOptions options;
  options.file = "l.weights.h5";
  EXPECT_THAT(KerasScript(lite, options),
              HasSubstr("keras.applications has no EfficientNet-Lite0"));
}

// Keras divides only the weights it downloads by ImageNet's deviation; the others need a word.
TEST(KerasScript, ImagenetStatisticsAreDividedOnceMoreOnlyWithAutoScaling) {
  std::map<std::string, std::vector<int64_t>> shapes;
  auto tensors = MadeTensors(*nn::BuildBackboneGraph("efficientnet_b0"), {}, &shapes);
  tensors["backbone/normalization/variance"] = {0.229F, 0.224F, 0.225F};
  ASSERT_OK_AND_ASSIGN(const WeightsFile official,
                       ReadWeights(MadeSafetensors(tensors, shapes, "efficientnet_b0"), {}));
  ASSERT_OK_AND_ASSIGN(const WeightsFile other,
                       ReadWeights(MadeWeights("efficientnet_b0", {}), {}));
  EXPECT_TRUE(DividesOnceMore(official));
  EXPECT_FALSE(DividesOnceMore(other));
  ScriptOptions options;
  options.file = "e.weights.h5";
  EXPECT_THAT(KerasScript(official, options), HasSubstr("n.adapt_variance.assign"));
  EXPECT_THAT(KerasScript(other, options), Not(HasSubstr("variance")));
  EXPECT_THAT(KerasConfig(official, true), HasSubstr("normalization_imagenet"));
  options.auto_scaling = false;
  EXPECT_THAT(KerasScript(official, options), Not(HasSubstr("variance")));
  EXPECT_THAT(KerasConfig(official, false), Not(HasSubstr("normalization_imagenet")));
}

// keras.src.utils.naming.to_snake_case
TEST(SnakeCase, IsKeras) {
  for (const auto& [name, expected] :
       {std::pair{"Conv2D", "conv2d"}, std::pair{"SeparableConv2D", "separable_conv2d"},
        std::pair{"DepthwiseConv2D", "depthwise_conv2d"},
        std::pair{"BatchNormalization", "batch_normalization"}, std::pair{"Dense", "dense"},
        std::pair{"GlobalAveragePooling2D", "global_average_pooling2d"}}) {
    EXPECT_EQ(SnakeCase(name), expected);
  }
}

}  // namespace
}  // namespace atelier::exporting
