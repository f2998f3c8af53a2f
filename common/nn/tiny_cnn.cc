// A network for tests and smoke runs: every kind of layer, milliseconds a step.
#include <string>

#include "common/nn/families.h"

namespace atelier::nn {

Graph TinyCnnGraph(int input_channels) {
  GraphBuilder b(input_channels);
  int x = b.Conv("conv1", b.input(), {.filters = 16, .kernel = 3, .stride = 2});
  x = b.Activate("conv1_act", b.BatchNorm("conv1_bn", x), Activation::kRelu);
  const int shortcut =
      b.BatchNorm("shortcut_bn", b.Conv("shortcut", x, {.filters = 32, .stride = 2}));
  x = b.BatchNorm("sepconv1_bn", b.SeparableConv("sepconv1", x, {.filters = 32, .kernel = 3}));
  x = b.MaxPool("pool1", x, 3, 2, Padding::kSame);
  x = b.Activate("add_act", b.Add("add", x, shortcut), Activation::kRelu6);
  x = b.BatchNorm("sepconv2_bn", b.SeparableConv("sepconv2", x, {.filters = 64, .kernel = 3}));
  b.Activate("sepconv2_act", x, Activation::kRelu);
  return std::move(b).Build();
}

}  // namespace atelier::nn
