// A member's network: backbone, global average pooling, head. What the trainer trains and the
// predictor runs. Torch header: only for TORCH targets.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"
#include "common/nn/backbone.h"

namespace atelier::nn {

struct NamedTensor {
  std::string name;  // "backbone/block1_conv1/kernel", "head/dense/kernel"
  at::Tensor tensor;
};

struct LoadOptions {
  // Initial weights hold only "backbone/…": the head keeps its initialisation.
  bool allow_missing_head = false;
};

// Not thread-safe. All exceptions that escape are LibTorch's (catch at the library's edge).
class MemberModel : public torch::nn::Module {
 public:
  // InvalidArgument: unknown backbone, classes < 2, bad head, image size or channels. Initialised
  // as Keras does (head dense he_normal, predictions glorot_uniform, biases 0) from CounterRng and
  // `seed`.
  static absl::StatusOr<std::shared_ptr<MemberModel>> Create(const v1::ModelSpec& spec,
                                                             uint64_t seed);
  // As Create, but the tensors hold anything until LoadTensors: no time spent on drawing numbers.
  static absl::StatusOr<std::shared_ptr<MemberModel>> CreateUninitialized(
      const v1::ModelSpec& spec);

  // x: float NCHW channels_last [N, channels, size, size], scaled (scaling.h).
  // Returns logits [N, classes] in float (double after to(kDouble)).
  at::Tensor Logits(const at::Tensor& x, const ForwardOptions& options = {});

  // Every parameter and buffer by artifact name, in name order. The tensors are the live ones:
  // read or copy_ into them, under NoGradGuard. Conv kernels may be channels_last in memory:
  // SaveTensors (tensor_io.h) writes them in logical order.
  std::map<std::string, at::Tensor> NamedTensors() const;

  // Copies values in, converting type. FailedPrecondition naming the first mismatch (missing or
  // unexpected tensor, shape). Nothing is changed unless everything fits. A first kernel for
  // 3 channels is summed for a grey model, the mean and variance of a Normalization are averaged.
  absl::Status LoadTensors(const std::map<std::string, at::Tensor>& tensors,
                           const LoadOptions& options = {});

  // Parameters in a fixed order (graph order, then head), without the moving statistics.
  std::vector<NamedTensor> TrainableParameters() const;

  // The kernel that L2 regularises: hidden kernel, or the softmax kernel when there is none.
  const at::Tensor& l2_kernel() const;
  // spec().head().l2() * sum(l2_kernel^2): add it to the loss. Undefined tensor when l2 is 0.
  at::Tensor L2Penalty() const;

  const v1::ModelSpec& spec() const { return spec_; }
  Backbone& backbone() { return *backbone_; }

 private:
  MemberModel(v1::ModelSpec spec, std::shared_ptr<Backbone> backbone);
  void InitializeHead(uint64_t seed);

  v1::ModelSpec spec_;
  std::shared_ptr<Backbone> backbone_;
  at::Tensor hidden_kernel_;  // undefined without hidden layer; [units, features]
  at::Tensor hidden_bias_;
  at::Tensor predictions_kernel_;  // [classes, units]
  at::Tensor predictions_bias_;
};

// Inverted dropout with the caller's generator: at::dropout takes none and shares one global one.
at::Tensor Dropout(const at::Tensor& x, double rate, at::Generator& generator);

}  // namespace atelier::nn
