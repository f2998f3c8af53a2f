// EfficientNet-Lite (tensorflow/tpu, efficientnet/lite): EfficientNet without squeeze-and-excite,
// ReLU6 for swish, stem and head of fixed width, first and last stage of fixed depth. Layer names
// as the modules of timm's tf_efficientnet_lite0.
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

class Builder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  int BnRelu6(const std::string& name, int x) {
    return Activate(name + "/act", BatchNorm(name, x), Activation::kRelu6);
  }
  int Block(const std::string& name, int x, int channels, const Stage& stage, int stride,
            int filters) {
    int y = x;
    int bn = 1;
    const auto next_bn = [&] { return absl::StrCat(name, ".bn", bn++); };
    if (stage.expansion != 1) {
      y = Conv(name + ".conv_pw", y, {.filters = channels * stage.expansion, .initializer = kInit});
      y = BnRelu6(next_bn(), y);
    }
    y = DepthwiseConv(name + ".conv_dw", y,
                      {.kernel = stage.kernel, .stride = stride, .initializer = kInit});
    y = BnRelu6(next_bn(), y);
    // timm's module without expansion calls its projection conv_pw.
    y = Conv(name + (stage.expansion != 1 ? ".conv_pwl" : ".conv_pw"), y,
             {.filters = filters, .initializer = kInit});
    y = BatchNorm(next_bn(), y);
    return stride == 1 && channels == filters ? Add(name, y, x) : y;
  }
};

}  // namespace

Graph EfficientNetLiteGraph(int input_channels, double width, double depth) {
  Builder b(input_channels);
  int channels = 32;
  int x = b.Conv("conv_stem", b.input(),
                 {.filters = channels, .kernel = 3, .stride = 2, .initializer = kInit});
  x = b.BnRelu6("bn1", x);
  int index = 0;
  for (const Stage& stage : kStages) {
    const bool fixed = index == 0 || index == 6;
    const int repeats = fixed ? stage.repeats : static_cast<int>(std::ceil(stage.repeats * depth));
    const int filters = RoundFilters(stage.filters, width);
    for (int i = 0; i < repeats; ++i) {
      x = b.Block(absl::StrCat("blocks.", index, ".", i), x, channels, stage,
                  i == 0 ? stage.stride : 1, filters);
      channels = filters;
    }
    ++index;
  }
  x = b.Conv("conv_head", x, {.filters = 1280, .initializer = kInit});
  b.BnRelu6("bn2", x);
  return std::move(b).Build();
}

}  // namespace atelier::nn
