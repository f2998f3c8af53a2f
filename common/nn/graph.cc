#include "common/nn/graph.h"

#include <utility>

namespace atelier::nn {

bool IsTrainable(const Variable& variable) {
  return variable.kind != VariableKind::kMovingMean &&
         variable.kind != VariableKind::kMovingVariance;
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

int GraphBuilder::Conv(const std::string& name, int x, const ConvOptions& options) {
  Node node;
  node.op = Op::kConv;
  node.name = name;
  node.inputs = {x};
  node.channels = options.filters;
  node.kernel = {options.kernel, options.kernel};
  node.stride = options.stride;
  node.padding = options.padding;
  node.variables = {AddVariable(
      name + "/kernel", {options.filters, graph_.nodes[x].channels, options.kernel, options.kernel},
      VariableKind::kKernel, options.initializer)};
  return Append(std::move(node));
}

int GraphBuilder::DepthwiseConv(const std::string& name, int x, const ConvOptions& options) {
  Node node;
  node.op = Op::kDepthwiseConv;
  node.name = name;
  node.inputs = {x};
  node.channels = graph_.nodes[x].channels;
  node.kernel = {options.kernel, options.kernel};
  node.stride = options.stride;
  node.padding = options.padding;
  node.variables = {AddVariable(name + "/kernel",
                                {node.channels, 1, options.kernel, options.kernel},
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

int GraphBuilder::BatchNorm(const std::string& name, int x, double epsilon, double momentum) {
  Node node;
  node.op = Op::kBatchNorm;
  node.name = name;
  node.inputs = {x};
  node.channels = graph_.nodes[x].channels;
  node.epsilon = epsilon;
  node.momentum = momentum;
  const std::vector<int64_t> shape = {node.channels};
  node.variables = {
      AddVariable(name + "/gamma", shape, VariableKind::kGamma, Initializer::kOnes),
      AddVariable(name + "/beta", shape, VariableKind::kBeta, Initializer::kZeros),
      AddVariable(name + "/moving_mean", shape, VariableKind::kMovingMean, Initializer::kZeros),
      AddVariable(name + "/moving_variance", shape, VariableKind::kMovingVariance,
                  Initializer::kOnes)};
  return Append(std::move(node));
}

int GraphBuilder::Activate(const std::string& name, int x, Activation activation) {
  Node node;
  node.op = Op::kActivation;
  node.name = name;
  node.inputs = {x};
  node.channels = graph_.nodes[x].channels;
  node.activation = activation;
  return Append(std::move(node));
}

int GraphBuilder::Add(const std::string& name, int x, int y) {
  Node node;
  node.op = Op::kAdd;
  node.name = name;
  node.inputs = {x, y};
  node.channels = graph_.nodes[x].channels;
  return Append(std::move(node));
}

int GraphBuilder::MaxPool(const std::string& name, int x, int kernel, int stride, Padding padding) {
  Node node;
  node.op = Op::kMaxPool;
  node.name = name;
  node.inputs = {x};
  node.channels = graph_.nodes[x].channels;
  node.kernel = {kernel, kernel};
  node.stride = stride;
  node.padding = padding;
  return Append(std::move(node));
}

}  // namespace atelier::nn
