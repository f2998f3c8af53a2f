// Every backbone of the catalogue: it trains, and what Keras does inside the model happens here
// too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "common/nn/backbone.h"
#include "common/nn/catalog.h"
#include "common/nn/member_model.h"
#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

at::Generator Seeded(uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return generator;
}

class BackboneTrains : public ::testing::TestWithParam<std::string> {};

TEST_P(BackboneTrains, InFloatAndBfloat16WithAGradientForEveryParameter) {
  const BackboneInfo info = FindBackbone(GetParam()).value();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    auto backbone = MakeBackbone(info.id).value();
    backbone->Initialize(3);
    at::Generator generator = Seeded(1);
    const at::Tensor x = at::rand({2, 3, info.min_size, info.min_size});
    const at::Tensor gap = backbone->Gap(
        x, {.training = true, .compute = type, .auto_scaling = true, .generator = &generator});
    ASSERT_EQ(gap.sizes(), (std::vector<int64_t>{2, info.features}));
    EXPECT_TRUE(at::isfinite(gap).all().item<bool>());
    (gap * at::rand_like(gap)).sum().backward();
    for (const at::Tensor& parameter : backbone->parameters()) {
      ASSERT_TRUE(parameter.grad().defined());
      EXPECT_TRUE(at::isfinite(parameter.grad()).all().item<bool>());
    }
  }
}

std::vector<std::string> Ids() {
  std::vector<std::string> ids;
  for (const BackboneInfo& info : Backbones()) ids.push_back(info.id);
  return ids;
}
INSTANTIATE_TEST_SUITE_P(All, BackboneTrains, ::testing::ValuesIn(Ids()),
                         [](const auto& instance) { return instance.param; });

// After a Normalization by mean 0 and variance 1.
Graph OnlyDropout(double rate) {
  GraphBuilder b(3);
  b.Dropout("drop", b.Normalize("normalization", b.input()), rate);
  return std::move(b).Build();
}

TEST(StochasticDepthTest, DropsWholeSamplesAtItsRateAndKeepsTheMean) {
  constexpr double kRate = 0.2;
  constexpr int kSamples = 4000;
  Backbone backbone(OnlyDropout(kRate));
  backbone.Initialize(1);
  at::Generator generator = Seeded(5);
  const at::Tensor x = at::ones({kSamples, 3, 2, 2});
  const at::Tensor y = backbone.Features(x, {.training = true, .generator = &generator});
  const at::Tensor per_sample = y.reshape({kSamples, -1});
  EXPECT_TRUE(at::equal(std::get<0>(per_sample.min(1)), std::get<0>(per_sample.max(1))));
  const double dropped = (per_sample.select(1, 0) == 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(dropped, kRate, 4 * std::sqrt(kRate * (1 - kRate) / kSamples));
  EXPECT_NEAR(y.max().item<double>(), 1 / (1 - kRate), 1e-6);
  EXPECT_TRUE(at::equal(backbone.Features(x), x)) << "in evaluation nothing is dropped";
}

TEST(StochasticDepthTest, RatesRiseLinearlyOverTheBlocks) {
  const Graph graph = BuildBackboneGraph("efficientnet_b0").value();
  std::vector<double> rates;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kDropout) rates.push_back(node.rate);
  }
  // B0 has 16 blocks; those that halve or widen have no shortcut and therefore nothing to drop.
  const std::vector<double> blocks = {2, 4, 6, 7, 9, 10, 12, 13, 14};
  ASSERT_EQ(rates.size(), blocks.size());
  for (size_t i = 0; i < rates.size(); ++i) EXPECT_NEAR(rates[i], 0.2 * blocks[i] / 16, 1e-12) << i;
}

Graph OnlyNormalization() {
  GraphBuilder b(3);
  b.Normalize("normalization", b.Rescale("rescaling", b.input(), 1.0 / 255));
  return std::move(b).Build();
}

// RECIPE.md, rescale: the second division only with Keras' official statistics and AUTO.
TEST(NormalizationTest, DividesOnceMoreWithImagenetsDeviationsAndAutoOnly) {
  const at::NoGradGuard no_grad;
  Backbone backbone(OnlyNormalization());
  const std::vector<double> deviation = {0.229, 0.224, 0.225};
  backbone.variables()[0].copy_(at::tensor({0.485, 0.456, 0.406}));
  backbone.variables()[1].copy_(at::tensor(deviation));
  const at::Tensor x = at::full({1, 3, 1, 1}, 255.0F);
  const double red = (1 - 0.485) / std::sqrt(0.229);
  const auto first = [&](bool auto_scaling) {
    return backbone.Features(x, {.auto_scaling = auto_scaling})[0][0][0][0].item<double>();
  };
  EXPECT_NEAR(first(true), red / std::sqrt(0.229), 1e-5);
  EXPECT_NEAR(first(false), red, 1e-5);
  backbone.variables()[1].mul_(1.002);  // not ImageNet's any more
  EXPECT_NEAR(first(true), red / std::sqrt(1.002), 1e-5);
}

// Three equal channels and one grey channel are the same picture.
TEST(GreyTest, KernelsAreSummedAndStatisticsAveraged) {
  v1::ModelSpec color;
  color.set_backbone("tiny_cnn");
  color.set_classes(3);
  color.mutable_image()->set_size(32);
  v1::ModelSpec grey = color;
  grey.mutable_image()->set_channels(1);
  auto of_color = MemberModel::Create(color, 1).value();
  auto of_grey = MemberModel::Create(grey, 2).value();
  ASSERT_TRUE(of_grey->LoadTensors(of_color->NamedTensors()).ok());
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::rand({2, 1, 32, 32});
  EXPECT_TRUE(
      at::allclose(of_grey->Logits(x), of_color->Logits(x.expand({2, 3, 32, 32})), 1e-4, 1e-5));

  color.set_backbone("efficientnet_b0");
  grey.set_backbone("efficientnet_b0");
  of_color = MemberModel::Create(color, 1).value();
  of_color->NamedTensors().at("backbone/normalization/mean").copy_(at::tensor({1.0, 2.0, 6.0}));
  of_grey = MemberModel::Create(grey, 2).value();
  ASSERT_TRUE(of_grey->LoadTensors(of_color->NamedTensors()).ok());
  EXPECT_EQ(of_grey->NamedTensors().at("backbone/normalization/mean").item<float>(), 3);
}

}  // namespace
}  // namespace atelier::nn
