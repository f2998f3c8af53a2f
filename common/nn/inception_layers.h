// What the Inception networks share: convolution, batch norm without gamma and ReLU under the names
// that Keras counts ("conv2d_7", "batch_normalization_7", "activation_7").
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/nn/graph.h"

namespace atelier::nn {

class InceptionBuilder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  struct Unit {
    int filters = 0;
    Kernel kernel = 1;
    int stride = 1;
    Padding padding = Padding::kSame;
  };
  int ConvBnRelu(int x, const Unit& unit) {
    const std::string suffix = convolutions_ == 0 ? "" : absl::StrCat("_", convolutions_);
    ++convolutions_;
    return Named("conv2d" + suffix, "batch_normalization" + suffix, "activation" + suffix, x, unit);
  }
  int Named(const std::string& conv, const std::string& bn, const std::string& activation, int x,
            const Unit& unit) {
    x = Conv(conv, x,
             {.filters = unit.filters,
              .kernel = unit.kernel,
              .stride = unit.stride,
              .padding = unit.padding});
    x = BatchNorm(bn, x, {.gamma = false});
    return Activate(activation, x, Activation::kRelu);
  }
  // One after the other.
  int Chain(int x, const std::vector<Unit>& units) {
    for (const Unit& unit : units) x = ConvBnRelu(x, unit);
    return x;
  }
  // 299 px to 35 x 35 x 192, the same in both.
  int Stem() {
    int x = Chain(input(), {{.filters = 32, .kernel = 3, .stride = 2, .padding = Padding::kValid},
                            {.filters = 32, .kernel = 3, .padding = Padding::kValid},
                            {.filters = 64, .kernel = 3}});
    x = Halve(x);
    x = Chain(x, {{.filters = 80, .padding = Padding::kValid},
                  {.filters = 192, .kernel = 3, .padding = Padding::kValid}});
    return Halve(x);
  }
  int Halve(int x) { return MaxPool(Counted("max_pooling2d", &pools_), x, 3, 2, Padding::kValid); }
  // The pooling branch: 3x3 mean, then 1x1.
  int PoolBranch(int x, int filters) {
    x = AveragePool(Counted("average_pooling2d", &averages_), x, 3, 1, Padding::kSame);
    return ConvBnRelu(x, {.filters = filters});
  }

 private:
  static std::string Counted(const std::string& name, int* count) {
    const int n = (*count)++;
    return n == 0 ? name : absl::StrCat(name, "_", n);
  }
  int convolutions_ = 0;
  int pools_ = 0;
  int averages_ = 0;
};

}  // namespace atelier::nn
