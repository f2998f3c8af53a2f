// Xception (Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017,
// figure 5) with the layer names of keras.applications.Xception in a fresh session.
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/families.h"

namespace atelier::nn {
namespace {

class Builder : public GraphBuilder {
 public:
  using GraphBuilder::GraphBuilder;

  int ConvBnRelu(const std::string& name, int x, int filters, int stride) {
    x = Conv(name, x,
             {.filters = filters, .kernel = 3, .stride = stride, .padding = Padding::kValid});
    x = BatchNorm(name + "_bn", x);
    return Activate(name + "_act", x, Activation::kRelu);
  }
  int Sep(const std::string& block, int i, int x, int filters) {
    const std::string name = absl::StrCat(block, "_sepconv", i);
    return BatchNorm(name + "_bn", SeparableConv(name, x, {.filters = filters, .kernel = 3}));
  }
  int Relu(const std::string& block, int i, int x) {
    return Activate(absl::StrCat(block, "_sepconv", i, "_act"), x, Activation::kRelu);
  }
  // Two separable convolutions and a pooling, beside a strided 1x1 convolution.
  int EntryBlock(const std::string& block, int x, int filters1, int filters2, bool first_relu) {
    int y = first_relu ? Relu(block, 1, x) : x;
    y = Sep(block, 1, y, filters1);
    y = Relu(block, 2, y);
    y = Sep(block, 2, y, filters2);
    const std::string suffix = shortcuts_ == 0 ? "" : absl::StrCat("_", shortcuts_);
    ++shortcuts_;
    const int shortcut = Conv("conv2d" + suffix, x, {.filters = filters2, .stride = 2});
    y = MaxPool(block + "_pool", y, 3, 2, Padding::kSame);
    return AddNext(y, BatchNorm("batch_normalization" + suffix, shortcut));
  }
  int MiddleBlock(const std::string& block, int x) {
    int y = x;
    for (int i = 1; i <= 3; ++i) y = Sep(block, i, Relu(block, i, y), 728);
    return AddNext(y, x);
  }

 private:
  int AddNext(int x, int y) {
    const std::string name = adds_ == 0 ? "add" : absl::StrCat("add_", adds_);
    ++adds_;
    return Add(name, x, y);
  }
  int shortcuts_ = 0;
  int adds_ = 0;
};

}  // namespace

Graph XceptionGraph(int input_channels) {
  Builder b(input_channels);
  int x = b.ConvBnRelu("block1_conv1", b.input(), 32, 2);
  x = b.ConvBnRelu("block1_conv2", x, 64, 1);
  x = b.EntryBlock("block2", x, 128, 128, /*first_relu=*/false);
  x = b.EntryBlock("block3", x, 256, 256, true);
  x = b.EntryBlock("block4", x, 728, 728, true);
  for (int i = 5; i <= 12; ++i) x = b.MiddleBlock(absl::StrCat("block", i), x);
  x = b.EntryBlock("block13", x, 728, 1024, true);
  x = b.Relu("block14", 1, b.Sep("block14", 1, x, 1536));
  b.Relu("block14", 2, b.Sep("block14", 2, x, 2048));
  return std::move(b).Build();
}

}  // namespace atelier::nn
