// A backbone as data: its layers in Keras' order, each with its variables. No torch here, so that
// the converter, exporters and summaries read the same table that training executes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::nn {

enum class Op { kInput, kConv, kDepthwiseConv, kBatchNorm, kActivation, kAdd, kMaxPool };
enum class Activation { kNone, kRelu, kRelu6 };
// kSame is TensorFlow's: ceil(n / stride) outputs, the odd pixel of padding goes to the end.
enum class Padding { kValid, kSame };
// Keras' definitions; kFanOutNormal is VarianceScaling(2, fan_out, truncated_normal).
enum class Initializer { kZeros, kOnes, kGlorotUniform, kHeNormal, kFanOutNormal };

enum class VariableKind {
  kKernel,           // [out, in, kh, kw]; Keras [kh, kw, in, out]
  kDepthwiseKernel,  // [channels, 1, kh, kw]; Keras [kh, kw, channels, 1]
  kBias,
  kGamma,
  kBeta,
  kMovingMean,
  kMovingVariance,
};

struct Variable {
  std::string name;            // "block1_conv1/kernel"
  std::vector<int64_t> shape;  // LibTorch's layout
  VariableKind kind;
  Initializer initializer;
};

// False for the moving statistics only.
bool IsTrainable(const Variable& variable);
// `shape` in Keras' layout.
std::vector<int64_t> KerasShape(const Variable& variable);

// One layer. The depthwise half of a separable convolution is a node of its own, "LAYER/depthwise".
struct Node {
  Op op = Op::kInput;
  std::string name;  // Keras' (timm's for Lite)
  std::vector<int> inputs;
  int channels = 0;  // of the output
  std::array<int, 2> kernel = {1, 1};
  int stride = 1;
  Padding padding = Padding::kSame;
  Activation activation = Activation::kNone;
  double epsilon = 0;
  double momentum = 0;         // Keras': moving = moving * momentum + batch * (1 - momentum)
  std::vector<int> variables;  // into Graph::variables
};

struct Graph {
  std::vector<Node> nodes;  // inputs before users; nodes[0] is the input, the last the feature map
  std::vector<Variable> variables;  // in Keras' order
  int features() const { return nodes.back().channels; }
};

// Writes a graph down layer by layer; every call returns the new node's index.
class GraphBuilder {
 public:
  explicit GraphBuilder(int input_channels);

  int input() const { return 0; }
  struct ConvOptions {
    int filters = 0;
    int kernel = 1;
    int stride = 1;
    Padding padding = Padding::kSame;
    Initializer initializer = Initializer::kGlorotUniform;
  };
  // No bias: in all these networks a batch norm follows.
  int Conv(const std::string& name, int x, const ConvOptions& options);
  int DepthwiseConv(const std::string& name, int x, const ConvOptions& options);
  // Keras' SeparableConv2D: variables depthwise_kernel and pointwise_kernel.
  int SeparableConv(const std::string& name, int x, const ConvOptions& options);
  int BatchNorm(const std::string& name, int x, double epsilon = 1e-3, double momentum = 0.99);
  int Activate(const std::string& name, int x, Activation activation);
  int Add(const std::string& name, int x, int y);
  int MaxPool(const std::string& name, int x, int kernel, int stride, Padding padding);

  Graph Build() && { return std::move(graph_); }

 private:
  int Append(Node node);
  int AddVariable(std::string name, std::vector<int64_t> shape, VariableKind kind,
                  Initializer initializer);
  Graph graph_;
};

// The graph of a backbone of the catalogue. `input_channels` is 3, or 1 (grey).
// InvalidArgument naming the ids there are.
absl::StatusOr<Graph> BuildBackboneGraph(std::string_view id, int input_channels = 3);

}  // namespace atelier::nn
