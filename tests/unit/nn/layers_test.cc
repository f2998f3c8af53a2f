#include "common/nn/layers.h"

#include <gtest/gtest.h>

#include "common/nn/backbone.h"
#include "common/nn/scaling.h"

namespace atelier::nn {
namespace {

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator);
}
double Difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST(PaddingTest, SameIsTensorFlows) {
  const auto pair = [](const AxisPadding& p) { return std::pair(p.before, p.after); };
  EXPECT_EQ(pair(PaddingOf(224, 3, 2, Padding::kSame)), std::pair(int64_t{0}, int64_t{1}));
  EXPECT_EQ(pair(PaddingOf(225, 3, 2, Padding::kSame)), std::pair(int64_t{1}, int64_t{1}));
  EXPECT_EQ(pair(PaddingOf(14, 5, 2, Padding::kSame)), std::pair(int64_t{1}, int64_t{2}));
  EXPECT_EQ(pair(PaddingOf(7, 3, 1, Padding::kSame)), std::pair(int64_t{1}, int64_t{1}));
  EXPECT_EQ(pair(PaddingOf(8, 1, 2, Padding::kSame)), std::pair(int64_t{0}, int64_t{0}));
  EXPECT_EQ(pair(PaddingOf(8, 3, 2, Padding::kValid)), std::pair(int64_t{0}, int64_t{0}));
}

TEST(ConvTest, PutsTheOddPixelOfPaddingLast) {
  const at::Tensor x = Random({1, 3, 8, 8}, 1);
  const at::Tensor k = Random({4, 3, 3, 3}, 2);
  const at::Tensor expected = at::conv2d(at::constant_pad_nd(x, {0, 1, 0, 1}, 0), k, {}, 2);
  EXPECT_LE(Difference(Conv2d(x, k, {}, 2, Padding::kSame), expected), 1e-5);
  const at::Tensor symmetric = at::conv2d(x, k, {}, 2, 1);
  EXPECT_GT(Difference(Conv2d(x, k, {}, 2, Padding::kSame), symmetric), 0.1);
}

TEST(MaxPoolTest, PaddingNeverWins) {
  for (const int64_t channels : {2, 24}) {  // LibTorch's operator and the own one
    for (const int64_t size : {8, 9}) {
      const std::vector<int64_t> shape = {1, channels, size, size};
      const at::Tensor x = (-at::ones(shape) - Random(shape, 3).abs()).requires_grad_();
      const at::Tensor y = MaxPool2d(x, 3, 2, Padding::kSame);
      EXPECT_EQ(y.size(2), (size + 1) / 2);
      EXPECT_LE(y.max().item<float>(), -1);
      const at::Tensor other = x.detach().clone().requires_grad_();
      const AxisPadding p = PaddingOf(size, 3, 2, Padding::kSame);
      const at::Tensor expected = at::max_pool2d(
          at::constant_pad_nd(other, {p.before, p.after, p.before, p.after}, -INFINITY), 3, 2);
      EXPECT_TRUE(at::equal(y, expected));
      y.sum().backward();
      expected.sum().backward();
      EXPECT_TRUE(at::equal(x.grad(), other.grad()));
      EXPECT_TRUE(at::equal(MaxPool2d(x.detach(), 3, 2, Padding::kSame), expected));
    }
  }
}

BatchNormVariables MakeVariables(int64_t c, at::ScalarType type = at::kFloat) {
  BatchNormVariables v;
  v.gamma = (1 + 0.3 * Random({c}, 10)).to(type).requires_grad_();
  v.beta = Random({c}, 11).to(type).requires_grad_();
  v.moving_mean = at::zeros({c}, type);
  v.moving_variance = at::ones({c}, type);
  return v;
}

at::Tensor KerasBatchNorm(const at::Tensor& x, const BatchNormVariables& v) {
  const auto shape = std::vector<int64_t>{1, -1, 1, 1};
  const at::Tensor mean = x.mean({0, 2, 3}).reshape(shape);
  const at::Tensor variance = (x - mean).square().mean({0, 2, 3}).reshape(shape);
  return (x - mean) / (variance + v.epsilon).sqrt() * v.gamma.reshape(shape) +
         v.beta.reshape(shape);
}

at::Tensor Activated(const at::Tensor& x, Activation activation) {
  if (activation == Activation::kRelu) return at::relu(x);
  return activation == Activation::kRelu6 ? at::clamp(x, 0, 6) : x;
}

TEST(BatchNormTest, ForwardAndGradientsEqualTheDefinition) {
  for (const int64_t c : {4, 40}) {  // LibTorch's path and the kernels'
    for (const auto activation : {Activation::kNone, Activation::kRelu, Activation::kRelu6}) {
      const at::Tensor data = 3 * Random({3, c, 7, 5}, 12) + 2;
      const at::Tensor dy = Random({3, c, 7, 5}, 13);
      BatchNormVariables own = MakeVariables(c);
      const at::Tensor x = data.clone().requires_grad_();
      const at::Tensor y = BatchNormTraining(x, own, activation);
      y.backward(dy);
      BatchNormVariables ref = MakeVariables(c, at::kDouble);
      const at::Tensor xd = data.to(at::kDouble).requires_grad_();
      const at::Tensor yd = Activated(KerasBatchNorm(xd, ref), activation);
      yd.backward(dy.to(at::kDouble));
      EXPECT_LE(Difference(y.detach(), yd.detach()), 1e-5);
      EXPECT_LE(Difference(x.grad(), xd.grad()), 1e-5);
      EXPECT_LE(Difference(own.gamma.grad(), ref.gamma.grad()), 1e-3);
      EXPECT_LE(Difference(own.beta.grad(), ref.beta.grad()), 1e-3);
    }
  }
}

TEST(BatchNormTest, MovingStatisticsTakeTheBiasedVariance) {
  for (const int64_t c : {4, 40}) {
    BatchNormVariables v = MakeVariables(c);
    const at::Tensor x = Random({2, c, 2, 2}, 14) * 2 + 1;
    BatchNormTraining(x, v);
    const at::Tensor mean = x.mean({0, 2, 3});
    const at::Tensor biased = x.transpose(0, 1).reshape({c, -1}).var(1, /*unbiased=*/false);
    EXPECT_LE(Difference(v.moving_mean, 0.01 * mean), 1e-6);
    EXPECT_LE(Difference(v.moving_variance, 0.99 + 0.01 * biased), 1e-6);
  }
}

TEST(BatchNormTest, InferencePathsAgree) {
  const at::Tensor x = Random({2, 32, 3, 3}, 15);
  BatchNormVariables v = MakeVariables(32);
  v.moving_mean = Random({32}, 16);
  v.moving_variance = Random({32}, 17).abs() + 0.1;
  const at::Tensor differentiable = BatchNormInference(x, v, Activation::kRelu).detach();
  const at::NoGradGuard no_grad;
  EXPECT_LE(Difference(BatchNormInference(x, v, Activation::kRelu), differentiable), 1e-5);
}

TEST(Relu6Test, HasAGradientInBfloat16) {
  const at::Tensor x = at::tensor({-1.0F, 0.5F, 3.0F, 7.0F}).to(at::kBFloat16).requires_grad_();
  Activate(x, Activation::kRelu6).sum().backward();
  EXPECT_TRUE(at::equal(x.grad().to(at::kFloat), at::tensor({0.0F, 1.0F, 1.0F, 0.0F})));
}

TEST(DepthwiseTest, EqualsLibTorchInEveryTypeWithGradients) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const bool wide = type == at::kDouble;
    const at::Tensor x = Random({2, 32, 9, 8}, 20).to(type).requires_grad_();
    const at::Tensor kernel =
        Random({32, 1, 3, 3}, 21).to(wide ? at::kDouble : at::kFloat).requires_grad_();
    const at::Tensor y = DepthwiseConv2d(x, kernel, {}, 2, Padding::kSame);
    EXPECT_EQ(y.scalar_type(), type);
    y.square().sum().backward();
    const at::Tensor xd = x.detach().to(at::kDouble).requires_grad_();
    const at::Tensor kd = kernel.detach().to(at::kDouble).requires_grad_();
    const at::Tensor yd =
        at::conv2d(at::constant_pad_nd(xd, {0, 1, 1, 1}), kd, {}, 2, at::IntArrayRef{0, 0}, 1, 32);
    yd.square().sum().backward();
    const double tolerance = wide ? 1e-14 : type == at::kFloat ? 1e-6 : 1e-2;
    const auto expect_close = [&](const at::Tensor& a, const at::Tensor& b) {
      EXPECT_LE(Difference(a, b), tolerance * b.abs().max().item<double>()) << type;
    };
    expect_close(y.detach(), yd.detach());
    expect_close(x.grad(), xd.grad());
    expect_close(kernel.grad(), kd.grad());
  }
}

// (pixel - mean) / divisor of one channel.
float Scaled(const PixelScaling& scaling, float pixel, size_t channel) {
  return (pixel - scaling.mean[channel]) / scaling.divisor[channel];
}

TEST(ScalingTest, IsWhatTheWeightsWereTrainedOn) {
  for (const char* id : {"xception", "inception_v3", "inception_resnet_v2", "tiny_cnn"}) {
    EXPECT_FLOAT_EQ(Scaled(*ScalingOf(id, v1::AUTO), 255, 0), 1) << id;
    EXPECT_FLOAT_EQ(Scaled(*ScalingOf(id, v1::AUTO), 0, 2), -1) << id;
  }
  EXPECT_FLOAT_EQ(Scaled(*ScalingOf("efficientnet_b4", v1::AUTO), 200, 1), 200);
  EXPECT_FLOAT_EQ(Scaled(*ScalingOf("efficientnet_lite0", v1::SCALING_UNSPECIFIED), 255, 0), 1);
  const PixelScaling densenet = *ScalingOf("densenet201", v1::AUTO);
  EXPECT_NEAR(Scaled(densenet, 255, 0), (1 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(Scaled(densenet, 0, 1), -0.456 / 0.224, 1e-6);
  EXPECT_NEAR(Scaled(densenet, 51, 2), (0.2 - 0.406) / 0.225, 1e-6);
  for (const char* id : {"xception", "densenet201", "efficientnet_b0", "efficientnet_lite0"}) {
    EXPECT_FLOAT_EQ(Scaled(*ScalingOf(id, v1::NOTEBOOK), 51, 0), 0.2F) << id;
  }
  EXPECT_FALSE(ScalingOf("vgg", v1::AUTO).ok());
}

TEST(ScalingTest, KeepsPixelsInPlace) {
  const std::vector<uint8_t> pixels = {0, 1, 2, 10, 11, 12};  // two pixels beside each other
  const PixelScaling scaling{.mean = {1, 1, 2}, .divisor = {2, 2, 4}};
  const at::Tensor x = ScalePixels(pixels.data(), 1, 1, 2, 3, scaling);
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{1, 3, 1, 2}));
  EXPECT_EQ(x[0][2][0][1].item<float>(), 2.5F);
  EXPECT_EQ(x[0][0][0][0].item<float>(), -0.5F);
  const at::Tensor grey = ScalePixels(pixels.data(), 1, 1, 2, 1, {.mean = {1, 2, 3}});
  EXPECT_EQ(grey.sizes(), (std::vector<int64_t>{1, 1, 1, 2}));
  EXPECT_EQ(grey[0][0][0][0].item<float>(), -2);
}

TEST(AveragePoolTest, PaddingDoesNotCount) {
  const at::Tensor x = at::arange(16, at::kFloat).reshape({1, 1, 4, 4});
  const at::Tensor same = AveragePool2d(x, 3, 1, Padding::kSame);
  EXPECT_FLOAT_EQ(same[0][0][0][0].item<float>(), (0 + 1 + 4 + 5) / 4.0F);
  EXPECT_FLOAT_EQ(same[0][0][1][1].item<float>(), 5);
  // Stride 2 on an even side: TensorFlow pads at the end only.
  const at::Tensor strided = AveragePool2d(x, 3, 2, Padding::kSame);
  EXPECT_FLOAT_EQ(strided[0][0][0][0].item<float>(), 5);
  EXPECT_FLOAT_EQ(strided[0][0][1][1].item<float>(), (10 + 11 + 14 + 15) / 4.0F);
}

TEST(BackboneTest, FusedAndTappedPathsAgree) {
  auto backbone = MakeBackbone("tiny_cnn").value();
  backbone->Initialize(3);
  const at::Tensor x = Random({2, 3, 33, 33}, 22);
  const at::NoGradGuard no_grad;
  std::vector<std::string> seen;
  const LayerTap tap = [&](const std::string& layer, const at::Tensor&) { seen.push_back(layer); };
  const at::Tensor tapped = backbone->Gap(x, {.tap = &tap});
  EXPECT_LE(Difference(tapped, backbone->Gap(x)), 1e-5);
  EXPECT_EQ(seen.size(), backbone->graph().nodes.size() - 1);
  EXPECT_EQ(seen.front(), "conv1");
}

TEST(BackboneTest, TrainsInFloat64Bfloat16AndGrey) {
  for (const auto type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    auto backbone = MakeBackbone("tiny_cnn", 1).value();
    backbone->Initialize(3);
    if (type == at::kDouble) backbone->to(at::kDouble);
    const at::Tensor x = Random({2, 1, 32, 32}, 23);
    const at::Tensor y =
        backbone->Gap(type == at::kDouble ? x.to(type) : x, {.training = true, .compute = type});
    y.square().sum().backward();
    for (const at::Tensor& parameter : backbone->parameters()) {
      EXPECT_TRUE(parameter.grad().defined());
      EXPECT_EQ(parameter.grad().scalar_type(), parameter.scalar_type());
    }
  }
}

}  // namespace
}  // namespace atelier::nn
