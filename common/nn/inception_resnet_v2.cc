// Inception-ResNet-v2 (Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
// Connections on Learning", AAAI 2017, figures 14 to 19) with the layer names of
// keras.applications.InceptionResNetV2 in a fresh session.
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/families.h"
#include "common/nn/inception_layers.h"

namespace atelier::nn {
namespace {

constexpr Padding kValid = Padding::kValid;

class Builder : public InceptionBuilder {
 public:
  using InceptionBuilder::InceptionBuilder;

  int Mixed5b(int x) {
    const int one = Chain(x, {{.filters = 96}});
    const int five = Chain(x, {{.filters = 48}, {.filters = 64, .kernel = 5}});
    const int threes =
        Chain(x, {{.filters = 64}, {.filters = 96, .kernel = 3}, {.filters = 96, .kernel = 3}});
    return Concat("mixed_5b", {one, five, threes, PoolBranch(x, 64)});
  }
  int Block35(int i, int x) {
    const int one = Chain(x, {{.filters = 32}});
    const int three = Chain(x, {{.filters = 32}, {.filters = 32, .kernel = 3}});
    const int threes =
        Chain(x, {{.filters = 32}, {.filters = 48, .kernel = 3}, {.filters = 64, .kernel = 3}});
    return Residual(absl::StrCat("block35_", i), x, {one, three, threes}, 0.17);
  }
  int Mixed6a(int x) {
    const int three = Chain(x, {{.filters = 384, .kernel = 3, .stride = 2, .padding = kValid}});
    const int threes = Chain(x, {{.filters = 256},
                                 {.filters = 256, .kernel = 3},
                                 {.filters = 384, .kernel = 3, .stride = 2, .padding = kValid}});
    return Concat("mixed_6a", {three, threes, Halve(x)});
  }
  int Block17(int i, int x) {
    const int one = Chain(x, {{.filters = 192}});
    const int seven = Chain(
        x,
        {{.filters = 128}, {.filters = 160, .kernel = {1, 7}}, {.filters = 192, .kernel = {7, 1}}});
    return Residual(absl::StrCat("block17_", i), x, {one, seven}, 0.1);
  }
  int Mixed7a(int x) {
    const auto reducing = [](int filters) {
      return Unit{.filters = filters, .kernel = 3, .stride = 2, .padding = kValid};
    };
    const int a = Chain(x, {{.filters = 256}, reducing(384)});
    const int b = Chain(x, {{.filters = 256}, reducing(288)});
    const int c = Chain(x, {{.filters = 256}, {.filters = 288, .kernel = 3}, reducing(320)});
    return Concat("mixed_7a", {a, b, c, Halve(x)});
  }
  // The last one neither scales nor activates.
  int Block8(int i, int x, bool last) {
    const int one = Chain(x, {{.filters = 192}});
    const int three = Chain(
        x,
        {{.filters = 192}, {.filters = 224, .kernel = {1, 3}}, {.filters = 256, .kernel = {3, 1}}});
    return Residual(absl::StrCat("block8_", i), x, {one, three}, last ? 1.0 : 0.2, !last);
  }

 private:
  // x + scale * (1x1 of the branches), then ReLU.
  int Residual(const std::string& name, int x, const std::vector<int>& branches, double scale,
               bool activate = true) {
    const int mixed = Concat(name + "_mixed", branches);
    const int up = Conv(name + "_conv", mixed, {.filters = channels(x), .bias = true});
    const int sum =
        Add(blocks_ == 0 ? "custom_scale_layer" : absl::StrCat("custom_scale_layer_", blocks_), x,
            up, scale);
    ++blocks_;
    return activate ? Activate(name + "_ac", sum, Activation::kRelu) : sum;
  }
  int blocks_ = 0;
};

}  // namespace

Graph InceptionResNetV2Graph(int input_channels) {
  Builder b(input_channels);
  int x = b.Mixed5b(b.Stem());
  for (int i = 1; i <= 10; ++i) x = b.Block35(i, x);
  x = b.Mixed6a(x);
  for (int i = 1; i <= 20; ++i) x = b.Block17(i, x);
  x = b.Mixed7a(x);
  for (int i = 1; i <= 10; ++i) x = b.Block8(i, x, /*last=*/i == 10);
  b.Named("conv_7b", "conv_7b_bn", "conv_7b_ac", x, {.filters = 1536});
  return std::move(b).Build();
}

}  // namespace atelier::nn
