#include "common/nn/shapes.h"

#include <algorithm>
#include <numeric>

namespace atelier::nn {
namespace {

int64_t Windows(int64_t n, int64_t kernel, int64_t stride, Padding padding) {
  const AxisPadding p = PaddingOf(n, kernel, stride, padding);
  const int64_t room = n + p.before + p.after - kernel;
  return room < 0 ? 0 : room / stride + 1;
}

LayerShape ShapeOf(const Node& node, const LayerShape& x) {
  switch (node.op) {
    case Op::kGlobalAverage:
      return {1, 1, node.channels};
    case Op::kConv:
    case Op::kDepthwiseConv:
    case Op::kMaxPool:
    case Op::kAveragePool:
      return {Windows(x.height, node.kernel[0], node.stride, node.padding),
              Windows(x.width, node.kernel[1], node.stride, node.padding), node.channels};
    case Op::kInput:
    case Op::kBatchNorm:
    case Op::kActivation:
    case Op::kAdd:
    case Op::kMultiply:
    case Op::kConcat:
    case Op::kRescale:
    case Op::kNormalize:
    case Op::kDropout:
      break;
  }
  return {x.height, x.width, node.channels};
}

int64_t Elements(const Variable& variable) {
  return std::accumulate(variable.shape.begin(), variable.shape.end(), int64_t{1},
                         std::multiplies<>());
}

}  // namespace

AxisPadding PaddingOf(int64_t n, int64_t kernel, int64_t stride, Padding padding) {
  if (padding == Padding::kValid) return {};
  if (padding == Padding::kHalf) return {kernel / 2, kernel / 2};
  const int64_t out = (n + stride - 1) / stride;
  const int64_t total = std::max<int64_t>((out - 1) * stride + kernel - n, 0);
  return {total / 2, total - total / 2};
}

std::vector<LayerShape> LayerShapes(const Graph& graph, int64_t height, int64_t width) {
  std::vector<LayerShape> shapes;
  shapes.push_back({height, width, graph.nodes.front().channels});
  for (size_t i = 1; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    shapes.push_back(ShapeOf(node, shapes[static_cast<size_t>(node.inputs[0])]));
  }
  return shapes;
}

int64_t Flop(const Graph& graph, const std::vector<LayerShape>& shapes) {
  int64_t total = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const int variable : graph.nodes[i].variables) {
      const Variable& v = graph.variables[static_cast<size_t>(variable)];
      // Every number of a kernel is multiplied once for every place of the output.
      if (v.kind == VariableKind::kKernel || v.kind == VariableKind::kDepthwiseKernel) {
        total += 2 * Elements(v) * shapes[i].height * shapes[i].width;
      }
    }
  }
  return total;
}

int64_t ParameterCount(const Graph& graph) {
  int64_t total = 0;
  for (const Variable& variable : graph.variables) total += Elements(variable);
  return total;
}

int64_t TrainableParameterCount(const Graph& graph) {
  int64_t total = 0;
  for (const Variable& variable : graph.variables) {
    if (IsTrainable(variable)) total += Elements(variable);
  }
  return total;
}

}  // namespace atelier::nn
