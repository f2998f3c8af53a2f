// EfficientNet (Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
// Networks", ICML 2019, table 1) with the layer names of keras.applications, rescaling and
// normalisation inside.
#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/efficientnet_filters.h"
#include "common/nn/families.h"

namespace atelier::nn {
namespace {

struct Stage {
  int repeats, kernel, stride, expansion, filters;
};
constexpr Stage kStages[] = {
    {1, 3, 1, 1, 16},  {2, 3, 2, 6, 24},  {2, 5, 2, 6, 40},  {3, 3, 2, 6, 80},
    {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320},
};
constexpr Initializer kInit = Initializer::kFanOutNormal;
constexpr double kDropConnect = 0.2;  // of the last block; the first has none, linear between

class Builder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  int BnSwish(const std::string& prefix, int x) {
    return Activate(prefix + "activation", BatchNorm(prefix + "bn", x), Activation::kSwish);
  }
  // Squeeze to a quarter of the block's input channels, excite.
  int SqueezeExcite(const std::string& name, int x, int filters) {
    int y = GlobalAverage(name + "se_squeeze", x);
    y = Conv(
        name + "se_reduce", y,
        {.filters = filters, .initializer = kInit, .bias = true, .activation = Activation::kSwish});
    y = Conv(name + "se_expand", y,
             {.filters = channels(x),
              .initializer = kInit,
              .bias = true,
              .activation = Activation::kSigmoid});
    return Multiply(name + "se_excite", x, y);
  }
  int Block(const std::string& name, int x, const Stage& stage, int stride, int filters,
            double drop_rate) {
    const int in = channels(x);
    int y = x;
    if (stage.expansion != 1) {
      y = Conv(name + "expand_conv", y, {.filters = in * stage.expansion, .initializer = kInit});
      y = BnSwish(name + "expand_", y);
    }
    y = DepthwiseConv(name + "dwconv", y,
                      {.kernel = stage.kernel, .stride = stride, .initializer = kInit});
    y = BnSwish(name, y);
    y = SqueezeExcite(name, y, std::max(1, in / 4));
    y = Conv(name + "project_conv", y, {.filters = filters, .initializer = kInit});
    y = BatchNorm(name + "project_bn", y);
    if (stride != 1 || in != filters) return y;
    if (drop_rate > 0) y = Dropout(name + "drop", y, drop_rate);
    return Add(name + "add", y, x);
  }
};

}  // namespace

Graph EfficientNetGraph(int input_channels, double width, double depth) {
  const auto repeats = [&](const Stage& stage) {
    return static_cast<int>(std::ceil(depth * stage.repeats));
  };
  int blocks = 0;
  for (const Stage& stage : kStages) blocks += repeats(stage);

  Builder b(input_channels);
  int x = b.Normalize("normalization", b.Rescale("rescaling", b.input(), 1.0 / 255));
  x = b.Conv("stem_conv", x,
             {.filters = RoundFilters(32, width), .kernel = 3, .stride = 2, .initializer = kInit});
  x = b.BnSwish("stem_", x);
  int block = 0;
  int number = 1;
  for (const Stage& stage : kStages) {
    const int filters = RoundFilters(stage.filters, width);
    for (int i = 0; i < repeats(stage); ++i) {
      const std::string name =
          absl::StrCat("block", number, std::string(1, static_cast<char>('a' + i)), "_");
      x = b.Block(name, x, stage, i == 0 ? stage.stride : 1, filters,
                  kDropConnect * block++ / blocks);
    }
    ++number;
  }
  x = b.Conv("top_conv", x, {.filters = RoundFilters(1280, width), .initializer = kInit});
  b.BnSwish("top_", x);
  return std::move(b).Build();
}

}  // namespace atelier::nn
