// The ONNX files' structure; tests/golden/check_exports.py holds their answers against runtimes.
#include "services/cli/export/onnx_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "onnx/checker.h"
#include "onnx/onnx_pb.h"
#include "onnx/shape_inference/implementation.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/export/made_weights.h"

namespace atelier::exporting {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

OnnxOptions Size(int64_t size) {
  OnnxOptions options;
  options.height = options.width = size;
  return options;
}

std::vector<std::string> Dims(const onnx::ValueInfoProto& value) {
  std::vector<std::string> dims;
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    dims.push_back(dim.has_dim_param() ? dim.dim_param() : std::to_string(dim.dim_value()));
  }
  return dims;
}

std::map<std::string, const onnx::TensorProto*> Initializers(const onnx::ModelProto& model) {
  std::map<std::string, const onnx::TensorProto*> out;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) out[tensor.name()] = &tensor;
  return out;
}

std::vector<float> Values(const onnx::TensorProto& tensor) {
  std::vector<float> out(tensor.raw_data().size() / sizeof(float));
  std::memcpy(out.data(), tensor.raw_data().data(), tensor.raw_data().size());
  return out;
}

int Count(const onnx::ModelProto& model, const std::string& op) {
  int n = 0;
  for (const onnx::NodeProto& node : model.graph().node()) n += node.op_type() == op ? 1 : 0;
  return n;
}

void ExpectChecked(onnx::ModelProto model) {
  ASSERT_NO_THROW(onnx::checker::check_model(model));
  ASSERT_NO_THROW(onnx::shape_inference::InferShapes(model));
  std::set<std::string> known;
  for (const auto& value : model.graph().value_info()) known.insert(value.name());
  for (const auto& value : model.graph().output()) known.insert(value.name());
  for (const onnx::NodeProto& node : model.graph().node()) {
    EXPECT_TRUE(known.contains(node.output(0))) << "no shape for " << node.output(0);
  }
}

class OnnxExportTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OnnxExportTest, HoldsTheTensorsBitByBitAndPassesTheChecker) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(MadeWeights(GetParam(), {8, 3}), {}));
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto model,
                       BuildOnnx(weights, Size(weights.backbone.min_size)));
  const auto initializers = Initializers(model);
  for (const auto& [name, view] : weights.tensors) {
    if (name.ends_with("/count")) continue;
    ASSERT_TRUE(initializers.contains(name)) << name;
    EXPECT_TRUE(initializers.at(name)->raw_data() == view.bytes) << name;
    // Mean and variance of a Normalization get axes to broadcast over.
    if (name.starts_with("backbone/normalization/")) continue;
    const auto& dims = initializers.at(name)->dims();
    EXPECT_EQ(std::vector<int64_t>(dims.begin(), dims.end()), view.shape) << name;
  }
  ExpectChecked(model);
}

TEST_P(OnnxExportTest, FoldedPassesTheCheckerWithFewerBatchNorms) {
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights, ReadWeights(MadeWeights(GetParam(), {}), {}));
  OnnxOptions options = Size(weights.backbone.min_size);
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto plain, BuildOnnx(weights, options));
  options.fold = true;
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto folded, BuildOnnx(weights, options));
  // DenseNet normalises before its convolutions: about half of its batch norms stay.
  EXPECT_LT(Count(folded, "BatchNormalization"), Count(plain, "BatchNormalization"));
  EXPECT_EQ(Count(folded, "Conv"), Count(plain, "Conv"));
  ExpectChecked(folded);
}

std::vector<std::string> EveryBackbone() {
  std::vector<std::string> names;
  for (const nn::BackboneInfo& info : nn::Backbones()) names.push_back(info.id);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Catalogue, OnnxExportTest, ::testing::ValuesIn(EveryBackbone()),
                         [](const auto& instance) { return instance.param; });

class TinyOnnxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto weights = ReadWeights(MadeWeights("tiny_cnn", {8, 3}), {});
    weights_ = *std::move(weights);
  }
  WeightsFile weights_;
};

TEST_F(TinyOnnxTest, InputAndOutputAreAsAskedFor) {
  OnnxOptions options = Size(32);
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto plain, BuildOnnx(weights_, options));
  EXPECT_EQ(plain.graph().input(0).name(), "input");
  EXPECT_THAT(Dims(plain.graph().input(0)), ElementsAre("N", "3", "32", "32"));
  EXPECT_EQ(plain.graph().output(0).name(), "probabilities");
  EXPECT_THAT(Dims(plain.graph().output(0)), ElementsAre("N", "3"));

  options.height = 20;
  options.width = 40;
  options.batch = 4;
  options.nhwc = true;
  options.with_preprocessing = true;
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto other, BuildOnnx(weights_, options));
  EXPECT_EQ(other.graph().input(0).name(), "pixels");
  EXPECT_EQ(other.graph().input(0).type().tensor_type().elem_type(), onnx::TensorProto::UINT8);
  EXPECT_THAT(Dims(other.graph().input(0)), ElementsAre("4", "20", "40", "3"));
  EXPECT_EQ(Count(other, "Transpose"), 1);
  ExpectChecked(other);

  ASSERT_OK_AND_ASSIGN(const WeightsFile bare,
                       ReadWeights(MadeWeights("tiny_cnn", {}), {.backbone = "", .head = false}));
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto backbone, BuildOnnx(bare, Size(32)));
  EXPECT_EQ(backbone.graph().output(0).name(), "gap");
  EXPECT_THAT(Dims(backbone.graph().output(0)), ElementsAre("N", "64"));
}

TEST_F(TinyOnnxTest, FoldingMultipliesTheBatchNormIn) {
  OnnxOptions options = Size(32);
  options.fold = true;
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto model, BuildOnnx(weights_, options));
  const auto initializers = Initializers(model);
  const auto raw = [&](const std::string& name) {
    std::vector<float> out(weights_.tensors.at(name).bytes.size() / sizeof(float));
    std::memcpy(out.data(), weights_.tensors.at(name).bytes.data(), out.size() * sizeof(float));
    return out;
  };
  const auto kernel = raw("backbone/conv1/kernel");
  const auto folded = Values(*initializers.at("folded/conv1/kernel"));
  const auto bias = Values(*initializers.at("folded/conv1/bias"));
  for (size_t c = 0; c < 16; ++c) {
    const double scale =
        static_cast<double>(raw("backbone/conv1_bn/gamma")[c]) /
        std::sqrt(static_cast<double>(raw("backbone/conv1_bn/moving_variance")[c]) + 1e-3);
    EXPECT_NEAR(folded[c * 27 + 5], scale * static_cast<double>(kernel[c * 27 + 5]), 1e-6);
    EXPECT_NEAR(bias[c],
                static_cast<double>(raw("backbone/conv1_bn/beta")[c]) -
                    scale * static_cast<double>(raw("backbone/conv1_bn/moving_mean")[c]),
                1e-6);
  }
  EXPECT_FALSE(initializers.contains("backbone/conv1/kernel"));
}

TEST_F(TinyOnnxTest, MetadataSayWhatGoesInAndComesOut) {
  OnnxOptions options = Size(32);
  options.preprocessing.mean = {1, 2, 3};
  options.preprocessing.divisor = {4, 5, 6};
  options.classes = {"cat", "dog", "owl"};
  options.metadata = {{"weights_sha256", "abc"}};
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto model, BuildOnnx(weights_, options));
  std::map<std::string, std::string> metadata;
  for (const auto& entry : model.metadata_props()) metadata[entry.key()] = entry.value();
  EXPECT_EQ(metadata["backbone"], "tiny_cnn");
  EXPECT_EQ(metadata["classes"], "cat,dog,owl");
  EXPECT_EQ(metadata["batch_norm"], "plain");
  EXPECT_EQ(metadata["layout"], "NCHW");
  EXPECT_EQ(metadata["weights_sha256"], "abc");
  EXPECT_EQ(metadata["input"], "(x - [1, 2, 3]) / [4, 5, 6], x = RGB 0..255");
}

TEST_F(TinyOnnxTest, RefusesSizesTheBackboneDoesNotTake) {
  for (const int64_t size : {0, 15, 5000}) {
    EXPECT_THAT(ExportOnnx(weights_, Size(size)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("16..4096")));
  }
}

// EfficientNets of ImageNet's official statistics divide once more, but not for the notebook.
TEST(OnnxNormalization, DividesOnceMoreOnlyWithAutoScaling) {
  std::map<std::string, std::vector<int64_t>> shapes;
  auto tensors = MadeTensors(*nn::BuildBackboneGraph("efficientnet_b0"), {}, &shapes);
  tensors["backbone/normalization/variance"] = {0.229F, 0.224F, 0.225F};
  ASSERT_OK_AND_ASSIGN(const WeightsFile weights,
                       ReadWeights(MadeSafetensors(tensors, shapes, "efficientnet_b0"), {}));
  OnnxOptions options = Size(32);
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto with, BuildOnnx(weights, options));
  options.auto_scaling = false;
  ASSERT_OK_AND_ASSIGN(const onnx::ModelProto without, BuildOnnx(weights, options));
  EXPECT_TRUE(Initializers(with).contains("constant/imagenet_deviation"));
  EXPECT_FALSE(Initializers(without).contains("constant/imagenet_deviation"));
}

}  // namespace
}  // namespace atelier::exporting
