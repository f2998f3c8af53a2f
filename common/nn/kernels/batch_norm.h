// Batch norm and its activation in one pass over NHWC memory. Torch header.
//
// Only x is kept for backward; the normalised value and the activation's mask are computed again.
// Statistics are merged in double (Chan et al.). Sums go over chunks of rows whose cut does not
// depend on the number of threads.
#pragma once

#include <torch/torch.h>

#include "common/nn/layers.h"

namespace atelier::nn::kernels {

// Float or bf16 on the CPU, float variables, at least 16 channels.
bool SupportsBatchNorm(const at::Tensor& x, const at::Tensor& gamma);

// As nn::BatchNormTraining and nn::BatchNormInference; the latter is not differentiable.
at::Tensor BatchNormTraining(const at::Tensor& x, const BatchNormVariables& variables,
                             Activation activation);
at::Tensor BatchNormInference(const at::Tensor& x, const BatchNormVariables& variables,
                              Activation activation);

}  // namespace atelier::nn::kernels
