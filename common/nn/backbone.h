// Executes a backbone's graph with LibTorch. Torch header: only for TORCH targets.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/graph.h"

namespace atelier::nn {

// Sees a layer's output by its Keras name; goldens find the first differing layer with it.
using LayerTap = std::function<void(const std::string& layer, const at::Tensor& output)>;

struct ForwardOptions {
  // Batch statistics, moving averages updated, dropout on.
  bool training = false;
  // kBFloat16: feature maps and dense convolutions in bf16; parameters, batch-norm statistics,
  // depthwise accumulation and the head stay in the parameters' type. No autocast is needed.
  at::ScalarType compute = at::kFloat;
  // ModelSpec.scaling is AUTO: a Normalization whose stored variance is ImageNet's deviation
  // (Keras' official EfficientNet files) divides by that deviation's square root once more, as
  // Keras does.
  bool auto_scaling = false;
  // Source of dropout; required when training with a dropout rate above 0. Reseed it each step.
  at::Generator* generator = nullptr;
  // Switches operator fusion off.
  const LayerTap* tap = nullptr;
};

// Not thread-safe: training changes the moving statistics. Exceptions are LibTorch's.
class Backbone : public torch::nn::Module {
 public:
  // Variables are allocated, not initialised: call Initialize or fill `variables()`.
  explicit Backbone(Graph graph);
  ~Backbone() override;

  // Keras' initialisers, drawn from CounterRng(seed, 0, variable index, kInitialise).
  void Initialize(uint64_t seed);

  // x: float (or double) NCHW, channels_last preferred, already scaled (scaling.h).
  // Returns the last feature map [N, features, h, w] (in options.compute).
  at::Tensor Features(const at::Tensor& x, const ForwardOptions& options = {});
  // Global average pooling of Features, [N, features] in the parameters' type.
  at::Tensor Gap(const at::Tensor& x, const ForwardOptions& options = {});

  const Graph& graph() const { return graph_; }
  // Aligned with graph().variables, named as those ("block1_conv1_bn/moving_mean").
  const std::vector<at::Tensor>& variables() const { return variables_; }

  // For inference only, once, after the weights are loaded: multiplies batch norms into the
  // convolutions before them and casts to `compute`. Variables folded away are emptied. Features
  // then ignores options.compute; training or a tap is a programmer error.
  // Returns the bytes of all constants kept.
  int64_t FoldBatchNorms(at::ScalarType compute = at::kFloat);

 private:
  struct Program;
  void Release(const Node& node);
  Graph graph_;
  std::vector<at::Tensor> variables_;
  std::unique_ptr<Program> plain_;  // one step a node, for taps
  std::unique_ptr<Program> fused_;
};

absl::StatusOr<std::shared_ptr<Backbone>> MakeBackbone(std::string_view id, int input_channels = 3);

}  // namespace atelier::nn
