// PyTorch's two containers and safetensors.
#include "services/cli/convert/torch_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "common/nn/graph.h"
#include "services/cli/convert/float_convert.h"
#include "services/cli/convert/foreign_names.h"
#include "services/cli/convert/permute.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/convert_files.h"
#include "tests/unit/convert/writers.h"

namespace atelier::convert {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class TorchTest : public ::testing::Test {
 protected:
  nn::Graph graph_ = *nn::BuildBackboneGraph("efficientnet_lite0");
  testing::TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "w.pth";

  void ExpectBackbone(const Converted& converted) {
    EXPECT_EQ(converted.report.mapping.backbone, "efficientnet_lite0");
    EXPECT_EQ(converted.tensors.size(), graph_.variables.size());
    for (const auto& [name, values] : ExpectedTensors(graph_)) {
      EXPECT_EQ(converted.tensors.at("backbone/" + name), values) << name;
    }
  }
};

TEST_F(TorchTest, ReadsTheLegacyFormat) {
  ASSERT_THAT(WriteFileAtomically(path_, LegacyTorchFile(TorchTensors(graph_))), IsOk());
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted);
}

TEST_F(TorchTest, ReadsTheZipFormatAndLeavesTheClassifierOut) {
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  tensors.push_back({"classifier.weight", {2, 3}, {}, {1, 2, 3, 4, 5, 6}, 0});
  tensors.push_back({"classifier.bias", {2}, {}, {1, 2}, 0});
  WriteTorchZip(path_, tensors);
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted);
  ASSERT_EQ(converted.report.mapping.left_out.size(), 2);
  EXPECT_THAT(converted.report.mapping.left_out[0].reason, HasSubstr("3 -> 2"));
}

TEST_F(TorchTest, GathersStridedAndShiftedTensors) {
  // conv_stem [32, 3, 3, 3] as TensorFlow's HWIO in memory, after five numbers of something else.
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  TorchTensor& stem = tensors[0];
  ASSERT_EQ(stem.shape, (std::vector<int64_t>{32, 3, 3, 3}));
  const std::vector<float> dense = stem.storage;
  stem.strides = {1, 32, 288, 96};
  stem.offset = 5;
  stem.storage.assign(dense.size() + 5, -1.0F);
  for (int64_t o = 0, i = 0; o < 32; ++o) {
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t w = 0; w < 3; ++w, ++i) {
          stem.storage[static_cast<size_t>(5 + o + c * 32 + h * 288 + w * 96)] =
              dense[static_cast<size_t>(i)];
        }
      }
    }
  }
  ASSERT_THAT(WriteFileAtomically(path_, LegacyTorchFile(tensors)), IsOk());
  ASSERT_OK_AND_ASSIGN(const Converted legacy, ConvertFile(path_));
  ExpectBackbone(legacy);
  WriteTorchZip(path_, tensors);
  ASSERT_OK_AND_ASSIGN(const Converted zip, ConvertFile(path_));
  ExpectBackbone(zip);
}

TEST_F(TorchTest, StridesOfExtentsOfOneAreNeverTaken) {
  // A depthwise kernel [C, 1, H, W] whose elements are three numbers apart.
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  const auto depthwise = std::find_if(tensors.begin(), tensors.end(), [](const TorchTensor& t) {
    return t.shape.size() == 4 && t.shape[1] == 1 && t.shape[3] > 1;
  });
  ASSERT_NE(depthwise, tensors.end());
  const int64_t h = depthwise->shape[2];
  const int64_t w = depthwise->shape[3];
  depthwise->strides = {3 * h * w, std::numeric_limits<int64_t>::max(), 3 * w, 3};
  depthwise->offset = 1;
  const std::vector<float> dense = depthwise->storage;
  depthwise->storage.assign(3 * dense.size(), -1.0F);
  for (size_t i = 0; i < dense.size(); ++i) depthwise->storage[1 + 3 * i] = dense[i];
  ASSERT_THAT(WriteFileAtomically(path_, LegacyTorchFile(tensors)), IsOk());
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted);
}

TEST_F(TorchTest, RefusesTensorsThatReachOutsideTheirStorage) {
  for (const auto& [offset, strides] :
       {std::pair{int64_t{1}, std::vector<int64_t>{}},
        std::pair{int64_t{0}, std::vector<int64_t>{2'000'000'000, 2'000'000'000, 3, 1}},
        std::pair{int64_t{0}, std::vector<int64_t>{28, 9, 3, 1}}}) {
    std::vector<TorchTensor> tensors = TorchTensors(graph_);
    tensors[0].offset = offset;
    tensors[0].strides = strides;
    ASSERT_THAT(WriteFileAtomically(path_, LegacyTorchFile(tensors)), IsOk());
    EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("reaches")));
  }
}

TEST_F(TorchTest, AnswersTruncatedFiles) {
  const std::string whole = LegacyTorchFile(TorchTensors(graph_));
  for (const size_t n :
       {size_t{5}, size_t{20}, size_t{60}, size_t{5000}, whole.size() / 2, whole.size() - 1}) {
    ASSERT_THAT(WriteFileAtomically(path_, whole.substr(0, n)), IsOk());
    EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid)) << n;
  }
  WriteTorchZip(path_, TorchTensors(graph_));
  const std::string zip = *ReadFile(path_);
  for (const size_t n : {zip.size() / 2, zip.size() - 1}) {
    ASSERT_THAT(WriteFileAtomically(path_, zip.substr(0, n)), IsOk());
    EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid)) << n;
  }
}

TEST_F(TorchTest, AnswersADamagedMemberAndAMissingStorage) {
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  WriteZip(path_, {{"a/data.pkl", StateDictPickle(tensors)}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("missing")));
  tensors[0].storage.resize(tensors[0].storage.size() - 1);
  std::vector<std::pair<std::string, std::string>> members = {
      {"a/data.pkl", StateDictPickle(TorchTensors(graph_))}};
  for (size_t i = 0; i < tensors.size(); ++i) {
    members.emplace_back("a/data/" + std::to_string(i), FloatBytes(tensors[i].storage));
  }
  WriteZip(path_, members);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("truncated")));
}

TEST_F(TorchTest, RefusesMaliciousPicklesInBothContainers) {
  PickleWriter evil;
  const std::string pickle =
      evil.Global("posix", "system").Op('(').Text("id").Op('t').Op('R').Stop();
  WriteZip(path_, {{"a/data.pkl", pickle}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("posix.system")));
  const std::string legacy = LegacyTorchFile({});
  ASSERT_THAT(WriteFileAtomically(path_, legacy.substr(0, 21) + pickle), IsOk());
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("posix.system")));
}

TEST_F(TorchTest, RefusesTorchScriptAndDictionariesWithoutTensors) {
  WriteZip(path_, {{"a/data.pkl", StateDictPickle({})}, {"a/constants.pkl", "x"}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("TorchScript")));
  WriteZip(path_, {{"a/data.pkl", StateDictPickle({})}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("state_dict")));
}

TEST_F(TorchTest, ReadsTimmTorchHubAndOwnSafetensors) {
  enum { kOwn, kTimm, kHub };
  for (const int style : {kOwn, kTimm, kHub}) {
    const std::vector<Layer> layers = PatternLayers(graph_, false);
    std::map<std::string, nn::TensorView> views;
    for (const Layer& layer : layers) {
      for (const Weight& weight : layer.weights) {
        const std::string variable = weight.name.substr(weight.name.rfind('/') + 1);
        const std::vector<std::string> names =
            ForeignNames("efficientnet_lite0", layer.name, variable);
        ASSERT_EQ(names.size(), 4) << weight.name;
        const std::string& name = names[static_cast<size_t>(style == kOwn ? 0 : style + 1)];
        views[name] = {nn::DType::kF32,
                       weight.shape,
                       {reinterpret_cast<const char*>(weight.values.data()),
                        weight.values.size() * sizeof(float)}};
      }
    }
    EXPECT_EQ(views.size(), graph_.variables.size());
    ASSERT_THAT(WriteFileAtomically(path_, nn::SerializeSafetensors(views)), IsOk());
    ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
    ExpectBackbone(converted);
  }
}

TEST(HubLiteLayer, KnowsTorchHubsCounting) {
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "conv_stem"), "_conv_stem");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "bn1"), "_bn0");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "blocks.0.0.conv_pw"), "_blocks.0._project_conv");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "blocks.0.0.bn1"), "_blocks.0._bn1");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "blocks.1.0.conv_pw"), "_blocks.1._expand_conv");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "blocks.1.0.bn1"), "_blocks.1._bn0");
  EXPECT_EQ(HubLiteLayer("efficientnet_lite0", "blocks.6.0.conv_pwl"), "_blocks.15._project_conv");
  EXPECT_EQ(HubLiteLayer("xception", "conv2d"), "");
}

TEST(ToFloat32, IsExactForHalvesAndBFloat16) {
  const auto convert = [](ElementType type, uint16_t bits) {
    const std::string in(reinterpret_cast<const char*>(&bits), sizeof bits);
    const std::string out = ToFloat32(type, in);
    float value = 0;
    std::memcpy(&value, out.data(), sizeof value);
    return value;
  };
  EXPECT_EQ(convert(ElementType::kF16, 0x3c00), 1.0F);
  EXPECT_EQ(convert(ElementType::kF16, 0xc100), -2.5F);
  EXPECT_EQ(convert(ElementType::kF16, 0x0001), 0x1p-24F);
  EXPECT_EQ(convert(ElementType::kF16, 0x7bff), 65504.0F);
  EXPECT_EQ(convert(ElementType::kF16, 0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(convert(ElementType::kBF16, 0x3f80), 1.0F);
  EXPECT_EQ(convert(ElementType::kBF16, 0xc020), -2.5F);
}

TEST(PermuteFloat32, MovesDimensions) {
  const std::vector<float> in = {0, 1, 2, 3, 4, 5};  // [2, 3]
  EXPECT_EQ(PermuteFloat32(FloatBytes(in), {2, 3}, {1, 0}), FloatBytes({0, 3, 1, 4, 2, 5}));
}

}  // namespace
}  // namespace atelier::convert
