// Max pooling in NHWC memory, forward and backward. Torch header.
//
// LibTorch keeps the input and an int64 place an output for the backward pass; here it is one byte
// an output. The channels are the vector axis.
#pragma once

#include <torch/torch.h>

#include <array>

namespace atelier::nn::kernels {

// Float or bf16 on the CPU, a window of at most 5x5.
bool SupportsMaxPool(const at::Tensor& x, int64_t kernel);

// x NCHW in channels_last memory (made so when it is not). Padding never wins; NaN does, and of
// equal values the first. Returns x's type in channels_last memory. Differentiable.
at::Tensor MaxPool(const at::Tensor& x, int64_t kernel, int64_t stride,
                   std::array<int64_t, 2> pad_h, std::array<int64_t, 2> pad_w);

}  // namespace atelier::nn::kernels
