// DenseNet (Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, table 1) with the
// layer names of keras.applications.DenseNet201.
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/families.h"

namespace atelier::nn {
namespace {

constexpr int kGrowth = 32;
constexpr double kEpsilon = 1.001e-5;

class Builder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  int BnRelu(const std::string& prefix, int x) {
    x = BatchNorm(prefix + "bn", x, {.epsilon = kEpsilon});
    return Activate(prefix + "relu", x, Activation::kRelu);
  }
  // 1x1 to four times the growth, then 3x3; what came in stays beside it.
  int ConvBlock(const std::string& name, int x) {
    int y = BnRelu(name + "_0_", x);
    y = Conv(name + "_1_conv", y, {.filters = 4 * kGrowth});
    y = BnRelu(name + "_1_", y);
    y = Conv(name + "_2_conv", y, {.filters = kGrowth, .kernel = 3});
    return Concat(name + "_concat", {x, y});
  }
  int DenseBlock(const std::string& name, int x, int layers) {
    for (int i = 1; i <= layers; ++i) x = ConvBlock(absl::StrCat(name, "_block", i), x);
    return x;
  }
  // Half the channels, half the size.
  int Transition(const std::string& name, int x) {
    x = BnRelu(name + "_", x);
    x = Conv(name + "_conv", x, {.filters = channels(x) / 2});
    return AveragePool(name + "_pool", x, 2, 2, Padding::kValid);
  }
};

}  // namespace

Graph DenseNet201Graph(int input_channels) {
  Builder b(input_channels);
  int x = b.Conv("conv1_conv", b.input(),
                 {.filters = 64, .kernel = 7, .stride = 2, .padding = Padding::kHalf});
  x = b.BnRelu("conv1_", x);
  x = b.MaxPool("pool1", x, 3, 2, Padding::kHalf);
  x = b.Transition("pool2", b.DenseBlock("conv2", x, 6));
  x = b.Transition("pool3", b.DenseBlock("conv3", x, 12));
  x = b.Transition("pool4", b.DenseBlock("conv4", x, 48));
  b.BnRelu("", b.DenseBlock("conv5", x, 32));
  return std::move(b).Build();
}

}  // namespace atelier::nn
