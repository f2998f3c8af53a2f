// Adam as Keras does it (keras/src/optimizers/adam.py):
//   m += (g - m) * (1 - beta1);  v += (g*g - v) * (1 - beta2)
//   p -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)
// torch::optim::Adam divides by (sqrt(v / (1 - beta2^t)) + epsilon): epsilon weighs more there.
// Torch header: only for TORCH targets.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "atelier/v1/recipe.pb.h"
#include "common/nn/member_model.h"

namespace atelier::trainer {

// Not thread-safe. One fused pass over each parameter, the same bits for the same inputs whatever
// the number of threads.
class Adam {
 public:
  Adam(std::vector<nn::NamedTensor> parameters, const v1::OptimizerSpec& spec);

  // Applies the parameters' gradients (a parameter without one is left as it is) and forgets them.
  void Step(double learning_rate);

  int64_t steps() const { return steps_; }
  // "adam_m/NAME", "adam_v/NAME" -> live tensors, for checkpoints.
  std::map<std::string, at::Tensor> State() const;
  // DataLoss when a tensor is missing or has another shape.
  absl::Status Restore(const std::map<std::string, at::Tensor>& tensors, int64_t steps);

 private:
  std::vector<nn::NamedTensor> parameters_;
  std::vector<at::Tensor> m_;
  std::vector<at::Tensor> v_;
  const double beta1_;
  const double beta2_;
  const double epsilon_;
  int64_t steps_ = 0;
};

}  // namespace atelier::trainer
