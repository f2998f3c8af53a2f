// InceptionV3 (Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR
// 2016, table 1) with the layer names of keras.applications.InceptionV3 in a fresh session.
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

  // Figure 5: 5x5 and two 3x3.
  int Mixed35(const std::string& name, int x, int pool_filters) {
    const int one = Chain(x, {{.filters = 64}});
    const int five = Chain(x, {{.filters = 48}, {.filters = 64, .kernel = 5}});
    const int threes =
        Chain(x, {{.filters = 64}, {.filters = 96, .kernel = 3}, {.filters = 96, .kernel = 3}});
    return Concat(name, {one, five, threes, PoolBranch(x, pool_filters)});
  }
  int Reduce35(const std::string& name, int x) {
    const int three = Chain(x, {{.filters = 384, .kernel = 3, .stride = 2, .padding = kValid}});
    const int threes = Chain(x, {{.filters = 64},
                                 {.filters = 96, .kernel = 3},
                                 {.filters = 96, .kernel = 3, .stride = 2, .padding = kValid}});
    return Concat(name, {three, threes, Halve(x)});
  }
  // Figure 6: 7x7 as 1x7 and 7x1.
  int Mixed17(const std::string& name, int x, int f) {
    const int one = Chain(x, {{.filters = 192}});
    const int seven = Chain(
        x, {{.filters = f}, {.filters = f, .kernel = {1, 7}}, {.filters = 192, .kernel = {7, 1}}});
    const int sevens = Chain(x, {{.filters = f},
                                 {.filters = f, .kernel = {7, 1}},
                                 {.filters = f, .kernel = {1, 7}},
                                 {.filters = f, .kernel = {7, 1}},
                                 {.filters = 192, .kernel = {1, 7}}});
    return Concat(name, {one, seven, sevens, PoolBranch(x, 192)});
  }
  int Reduce17(const std::string& name, int x) {
    const int three =
        Chain(x, {{.filters = 192}, {.filters = 320, .kernel = 3, .stride = 2, .padding = kValid}});
    const int seven = Chain(x, {{.filters = 192},
                                {.filters = 192, .kernel = {1, 7}},
                                {.filters = 192, .kernel = {7, 1}},
                                {.filters = 192, .kernel = 3, .stride = 2, .padding = kValid}});
    return Concat(name, {three, seven, Halve(x)});
  }
  // Figure 7: the last convolution fans out into 1x3 and 3x1.
  int Mixed8(int i, int x) {
    const int one = Chain(x, {{.filters = 320}});
    int three = Chain(x, {{.filters = 384}});
    three = FanOut(absl::StrCat("mixed9_", i), three);
    int threes = Chain(x, {{.filters = 448}, {.filters = 384, .kernel = 3}});
    threes = FanOut(i == 0 ? "concatenate" : absl::StrCat("concatenate_", i), threes);
    return Concat(absl::StrCat("mixed", 9 + i), {one, three, threes, PoolBranch(x, 192)});
  }

 private:
  int FanOut(const std::string& name, int x) {
    const int row = ConvBnRelu(x, {.filters = 384, .kernel = {1, 3}});
    const int column = ConvBnRelu(x, {.filters = 384, .kernel = {3, 1}});
    return Concat(name, {row, column});
  }
};

}  // namespace

Graph InceptionV3Graph(int input_channels) {
  Builder b(input_channels);
  int x = b.Stem();
  x = b.Mixed35("mixed0", x, 32);
  x = b.Mixed35("mixed1", x, 64);
  x = b.Mixed35("mixed2", x, 64);
  x = b.Reduce35("mixed3", x);
  x = b.Mixed17("mixed4", x, 128);
  x = b.Mixed17("mixed5", x, 160);
  x = b.Mixed17("mixed6", x, 160);
  x = b.Mixed17("mixed7", x, 192);
  x = b.Reduce17("mixed8", x);
  x = b.Mixed8(0, x);
  b.Mixed8(1, x);
  return std::move(b).Build();
}

}  // namespace atelier::nn
