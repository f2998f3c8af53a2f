// Keras' layers as functions on tensors, each differentiable. Torch header.
//
// x: NCHW, channels_last preferred; float, double or bf16. Kernels in LibTorch's layout, any float
// type: they are cast to x's. Statistics and affine parameters of batch norm keep their own type.
#pragma once

#include <torch/torch.h>

#include <array>

#include "common/nn/graph.h"
#include "common/nn/shapes.h"

namespace atelier::nn {

// `bias` may be undefined.
at::Tensor Conv2d(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                  int64_t stride, Padding padding);

// kernel [channels, 1, kh, kw].
at::Tensor DepthwiseConv2d(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                           int64_t stride, Padding padding);

// Padding never wins: it counts as -infinity.
at::Tensor MaxPool2d(const at::Tensor& x, int64_t kernel, int64_t stride, Padding padding);
// The mean over the pixels there are: padding is not counted.
at::Tensor AveragePool2d(const at::Tensor& x, int64_t kernel, int64_t stride, Padding padding);

at::Tensor Activate(const at::Tensor& x, Activation activation);

struct BatchNormVariables {
  at::Tensor gamma, beta, moving_mean, moving_variance;  // gamma undefined: 1
  double epsilon = 1e-3;
  double momentum = 0.99;
};

// Normalises by the batch's mean and biased variance, then applies the activation. The moving
// statistics take both (Keras 3; LibTorch would take the unbiased variance).
at::Tensor BatchNormTraining(const at::Tensor& x, const BatchNormVariables& variables,
                             Activation activation = Activation::kNone);
// Whether batch norm does this activation on its way (the others are operators of their own).
inline bool FusesWithBatchNorm(Activation activation) {
  return activation == Activation::kRelu || activation == Activation::kRelu6;
}
// Normalises by the moving statistics.
at::Tensor BatchNormInference(const at::Tensor& x, const BatchNormVariables& variables,
                              Activation activation = Activation::kNone);

}  // namespace atelier::nn
