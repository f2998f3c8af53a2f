#include "common/nn/graph.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace atelier::nn {
namespace {

// A separable convolution is one layer to Keras: its depthwise half adds nothing to a distance.
bool IsDepthwiseHalf(const Node& node) { return node.name.ends_with("/depthwise"); }

// The longest way to the output, in layers.
std::vector<int> Depths(const std::vector<Node>& nodes) {
  std::vector<int> depth(nodes.size(), 0);
  for (size_t i = nodes.size(); i-- > 0;) {
    for (const int input : nodes[i].inputs) {
      const auto in = static_cast<size_t>(input);
      depth[in] = std::max(depth[in], depth[i] + (IsDepthwiseHalf(nodes[in]) ? 0 : 1));
    }
  }
  return depth;
}

// When a depth-first walk from the output first meets each node.
void Visit(const std::vector<Node>& nodes, int node, std::vector<int>& met, int& count) {
  if (met[static_cast<size_t>(node)] >= 0) return;
  met[static_cast<size_t>(node)] = count++;
  for (const int input : nodes[static_cast<size_t>(node)].inputs) Visit(nodes, input, met, count);
}

// Nodes in Keras' order of layers.
std::vector<size_t> KerasOrder(const std::vector<Node>& nodes) {
  const std::vector<int> depth = Depths(nodes);
  std::vector<int> met(nodes.size(), -1);
  int count = 0;
  Visit(nodes, static_cast<int>(nodes.size()) - 1, met, count);
  std::vector<size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // The walk goes straight from a separable convolution to its depthwise half, which comes first.
  const auto rank = [&](size_t node) {
    return 2 * met[node] - (IsDepthwiseHalf(nodes[node]) ? 3 : 0);
  };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return depth[a] != depth[b] ? depth[a] > depth[b] : rank(a) < rank(b);
  });
  return order;
}

}  // namespace

bool IsTrainable(const Variable& variable) {
  switch (variable.kind) {
    case VariableKind::kMovingMean:
    case VariableKind::kMovingVariance:
    case VariableKind::kMean:
    case VariableKind::kVariance:
    case VariableKind::kCount:
      return false;
    default:
      return true;
  }
}

std::vector<int64_t> KerasShape(const Variable& variable) {
  const std::vector<int64_t>& s = variable.shape;
  switch (variable.kind) {
    case VariableKind::kKernel:
      return {s[2], s[3], s[1], s[0]};
    case VariableKind::kDepthwiseKernel:
      return {s[2], s[3], s[0], s[1]};
    default:
      return s;
  }
}

GraphBuilder::GraphBuilder(int input_channels) {
  Node input;
  input.name = "input";
  input.channels = input_channels;
  Append(std::move(input));
}

int GraphBuilder::Append(Node node) {
  graph_.nodes.push_back(std::move(node));
  return static_cast<int>(graph_.nodes.size()) - 1;
}

int GraphBuilder::AddVariable(std::string name, std::vector<int64_t> shape, VariableKind kind,
                              Initializer initializer) {
  graph_.variables.push_back({std::move(name), std::move(shape), kind, initializer});
  return static_cast<int>(graph_.variables.size()) - 1;
}

Node GraphBuilder::After(Op op, const std::string& name, int x) const {
  Node node;
  node.op = op;
  node.name = name;
  node.inputs = {x};
  node.channels = channels(x);
  return node;
}

int GraphBuilder::Conv(const std::string& name, int x, const ConvOptions& options) {
  Node node = After(Op::kConv, name, x);
  node.channels = options.filters;
  node.kernel = {options.kernel.height, options.kernel.width};
  node.stride = options.stride;
  node.padding = options.padding;
  node.activation = options.activation;
  node.variables = {AddVariable(
      name + "/kernel", {options.filters, channels(x), options.kernel.height, options.kernel.width},
      VariableKind::kKernel, options.initializer)};
  if (options.bias) {
    node.variables.push_back(
        AddVariable(name + "/bias", {options.filters}, VariableKind::kBias, Initializer::kZeros));
  }
  return Append(std::move(node));
}

int GraphBuilder::DepthwiseConv(const std::string& name, int x, const ConvOptions& options) {
  Node node = After(Op::kDepthwiseConv, name, x);
  node.kernel = {options.kernel.height, options.kernel.width};
  node.stride = options.stride;
  node.padding = options.padding;
  node.variables = {AddVariable(name + "/kernel",
                                {node.channels, 1, options.kernel.height, options.kernel.width},
                                VariableKind::kDepthwiseKernel, options.initializer)};
  return Append(std::move(node));
}

int GraphBuilder::SeparableConv(const std::string& name, int x, const ConvOptions& options) {
  const int depthwise = DepthwiseConv(name + "/depthwise", x, options);
  graph_.variables.back().name = name + "/depthwise_kernel";
  ConvOptions pointwise = options;
  pointwise.kernel = 1;
  pointwise.stride = 1;
  const int node = Conv(name, depthwise, pointwise);
  graph_.variables.back().name = name + "/pointwise_kernel";
  return node;
}

int GraphBuilder::BatchNorm(const std::string& name, int x, const BatchNormOptions& options) {
  Node node = After(Op::kBatchNorm, name, x);
  node.epsilon = options.epsilon;
  node.momentum = options.momentum;
  const auto add = [&](const char* leaf, VariableKind kind, Initializer initializer) {
    node.variables.push_back(AddVariable(name + leaf, {node.channels}, kind, initializer));
  };
  if (options.gamma) add("/gamma", VariableKind::kGamma, Initializer::kOnes);
  add("/beta", VariableKind::kBeta, Initializer::kZeros);
  add("/moving_mean", VariableKind::kMovingMean, Initializer::kZeros);
  add("/moving_variance", VariableKind::kMovingVariance, Initializer::kOnes);
  return Append(std::move(node));
}

int GraphBuilder::Activate(const std::string& name, int x, Activation activation) {
  Node node = After(Op::kActivation, name, x);
  node.activation = activation;
  return Append(std::move(node));
}

int GraphBuilder::Add(const std::string& name, int x, int y, double scale) {
  Node node = After(Op::kAdd, name, x);
  node.inputs.push_back(y);
  node.scale = scale;
  return Append(std::move(node));
}

int GraphBuilder::Multiply(const std::string& name, int x, int y) {
  Node node = After(Op::kMultiply, name, x);
  node.inputs.push_back(y);
  return Append(std::move(node));
}

int GraphBuilder::Concat(const std::string& name, const std::vector<int>& inputs) {
  Node node = After(Op::kConcat, name, inputs.front());
  node.inputs = inputs;
  node.channels = 0;
  for (const int input : inputs) node.channels += channels(input);
  return Append(std::move(node));
}

int GraphBuilder::Pool(Op op, const std::string& name, int x, int kernel, int stride,
                       Padding padding) {
  Node node = After(op, name, x);
  node.kernel = {kernel, kernel};
  node.stride = stride;
  node.padding = padding;
  return Append(std::move(node));
}

int GraphBuilder::MaxPool(const std::string& name, int x, int kernel, int stride, Padding padding) {
  return Pool(Op::kMaxPool, name, x, kernel, stride, padding);
}

int GraphBuilder::AveragePool(const std::string& name, int x, int kernel, int stride,
                              Padding padding) {
  return Pool(Op::kAveragePool, name, x, kernel, stride, padding);
}

int GraphBuilder::GlobalAverage(const std::string& name, int x) {
  return Append(After(Op::kGlobalAverage, name, x));
}

int GraphBuilder::Rescale(const std::string& name, int x, double scale) {
  Node node = After(Op::kRescale, name, x);
  node.scale = scale;
  return Append(std::move(node));
}

int GraphBuilder::Normalize(const std::string& name, int x) {
  Node node = After(Op::kNormalize, name, x);
  const std::vector<int64_t> shape = {node.channels};
  node.variables = {
      AddVariable(name + "/mean", shape, VariableKind::kMean, Initializer::kZeros),
      AddVariable(name + "/variance", shape, VariableKind::kVariance, Initializer::kOnes),
      AddVariable(name + "/count", {}, VariableKind::kCount, Initializer::kZeros)};
  return Append(std::move(node));
}

int GraphBuilder::Dropout(const std::string& name, int x, double rate) {
  Node node = After(Op::kDropout, name, x);
  node.rate = rate;
  return Append(std::move(node));
}

Graph GraphBuilder::Build() && {
  const std::vector<size_t> order = KerasOrder(graph_.nodes);
  std::vector<int> moved_to(order.size());
  for (size_t i = 0; i < order.size(); ++i) moved_to[order[i]] = static_cast<int>(i);
  Graph out;
  for (const size_t i : order) {
    Node node = std::move(graph_.nodes[i]);
    for (int& input : node.inputs) input = moved_to[static_cast<size_t>(input)];
    for (int& variable : node.variables) {
      out.variables.push_back(std::move(graph_.variables[static_cast<size_t>(variable)]));
      variable = static_cast<int>(out.variables.size()) - 1;
    }
    out.nodes.push_back(std::move(node));
  }
  return out;
}

}  // namespace atelier::nn
