// What a graph makes of a picture of a given size: output shapes and operations. No torch here.
#pragma once

#include <cstdint>
#include <vector>

#include "common/nn/graph.h"

namespace atelier::nn {

struct LayerShape {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
};

// TensorFlow's padding of one spatial axis.
struct AxisPadding {
  int64_t before = 0;
  int64_t after = 0;
};
// kSame: the total is max((ceil(n/stride)-1)*stride + kernel - n, 0), the odd pixel comes last.
// kHalf: kernel / 2 on both sides.
AxisPadding PaddingOf(int64_t n, int64_t kernel, int64_t stride, Padding padding);

// Output of every node, aligned with graph.nodes. A size that is too small for the network gives
// heights or widths of 0 or less somewhere.
std::vector<LayerShape> LayerShapes(const Graph& graph, int64_t height, int64_t width);

// 2 for every multiply-add of convolutions and dense layers, for one picture; batch norms,
// activations and poolings are left out, as papers do.
int64_t Flop(const Graph& graph, const std::vector<LayerShape>& shapes);

// Numbers in all variables, moving statistics included (Keras' "total params"), or only in the
// trainable ones.
int64_t ParameterCount(const Graph& graph);
int64_t TrainableParameterCount(const Graph& graph);

}  // namespace atelier::nn
