// A backbone as data: its layers in Keras' order, each with its variables. No torch here, so that
// the converter, exporters and summaries read the same table that training executes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::nn {

enum class Op {
  kInput,
  kConv,
  kDepthwiseConv,
  kBatchNorm,
  kActivation,
  kAdd,       // first + scale * second
  kMultiply,  // second is [N, C, 1, 1]
  kConcat,    // along the channels
  kMaxPool,
  kAveragePool,    // padding does not count
  kGlobalAverage,  // [N, C, 1, 1]
  kRescale,        // x * scale
  kNormalize,      // (x - mean) / sqrt(variance)
  kDropout,        // of whole samples (stochastic depth), in training only
};
enum class Activation { kNone, kRelu, kRelu6, kSwish, kSigmoid };
// kSame is TensorFlow's: ceil(n / stride) outputs, the odd pixel of padding goes to the end. kHalf
// is Keras' ZeroPadding2D(kernel / 2) before a valid convolution: the same on all sides.
enum class Padding { kValid, kSame, kHalf };
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
  kMean,      // of kNormalize, [channels]
  kVariance,  // likewise
  kCount,     // a scalar that Keras' Normalization keeps and nobody uses
};

struct Variable {
  std::string name;            // "block1_conv1/kernel"
  std::vector<int64_t> shape;  // LibTorch's layout
  VariableKind kind;
  Initializer initializer;
};

// False for statistics.
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
  double scale = 1;            // kAdd, kRescale
  double rate = 0;             // kDropout
  std::vector<int> variables;  // into Graph::variables, in Keras' order
};

// Of a kBatchNorm: false when it has no gamma (Keras' scale=False).
inline bool HasGamma(const Node& node) { return node.variables.size() == 4; }

struct Graph {
  // In Keras' order of layers, inputs before users; nodes[0] is the input, the last the feature
  // map.
  std::vector<Node> nodes;
  std::vector<Variable> variables;  // in Keras' order
  int features() const { return nodes.back().channels; }
};

struct Kernel {
  int height = 1;
  int width = 1;
  Kernel(int both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor)
  Kernel(int h, int w) : height(h), width(w) {}
};

// Writes a graph down layer by layer; every call returns the new node's index (until Build).
class GraphBuilder {
 public:
  explicit GraphBuilder(int input_channels);

  int input() const { return 0; }
  struct ConvOptions {
    int filters = 0;
    Kernel kernel = 1;
    int stride = 1;
    Padding padding = Padding::kSame;
    Initializer initializer = Initializer::kGlorotUniform;
    bool bias = false;  // mostly a batch norm follows
    Activation activation = Activation::kNone;
  };
  int Conv(const std::string& name, int x, const ConvOptions& options);
  int DepthwiseConv(const std::string& name, int x, const ConvOptions& options);
  // Keras' SeparableConv2D: variables depthwise_kernel and pointwise_kernel.
  int SeparableConv(const std::string& name, int x, const ConvOptions& options);
  struct BatchNormOptions {
    double epsilon = 1e-3;
    double momentum = 0.99;
    bool gamma = true;
  };
  int BatchNorm(const std::string& name, int x) { return BatchNorm(name, x, {}); }
  int BatchNorm(const std::string& name, int x, const BatchNormOptions& options);
  int Activate(const std::string& name, int x, Activation activation);
  int Add(const std::string& name, int x, int y, double scale = 1);
  int Multiply(const std::string& name, int x, int y);
  int Concat(const std::string& name, const std::vector<int>& inputs);
  int MaxPool(const std::string& name, int x, int kernel, int stride, Padding padding);
  int AveragePool(const std::string& name, int x, int kernel, int stride, Padding padding);
  int GlobalAverage(const std::string& name, int x);
  int Rescale(const std::string& name, int x, double scale);
  int Normalize(const std::string& name, int x);
  int Dropout(const std::string& name, int x, double rate);

  // Keras' order: layers by their longest distance to the output, equal ones in the order in which
  // a walk from the output meets them (keras.src.models.functional, map_graph_network).
  Graph Build() &&;

  int channels(int node) const { return graph_.nodes[static_cast<size_t>(node)].channels; }

 private:
  // A node of one input, with as many channels.
  Node After(Op op, const std::string& name, int x) const;
  int Pool(Op op, const std::string& name, int x, int kernel, int stride, Padding padding);
  int Append(Node node);
  int AddVariable(std::string name, std::vector<int64_t> shape, VariableKind kind,
                  Initializer initializer);
  Graph graph_;
};

// The graph of a backbone of the catalogue. `input_channels` is 3, or 1 (grey).
// InvalidArgument naming the ids there are.
absl::StatusOr<Graph> BuildBackboneGraph(std::string_view id, int input_channels = 3);

}  // namespace atelier::nn
