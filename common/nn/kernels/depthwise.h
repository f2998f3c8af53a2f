// Depthwise convolution in NHWC memory, forward and backward. Torch header.
//
// LibTorch's (oneDNN's) backward of it is the bottleneck of separable networks on a CPU. Here the
// channels are the vector axis; storage float or bf16, accumulation float, kernel float. The
// kernel's gradient is summed in a fixed order that does not depend on the number of threads.
#pragma once

#include <torch/torch.h>

#include <array>

namespace atelier::nn::kernels {

// Float or bf16 on the CPU, 3x3 or 5x5 kernel in float.
bool SupportsDepthwise(const at::Tensor& x, const at::Tensor& kernel);

// x NCHW in channels_last memory (made so when it is not), kernel [channels, 1, k, k], bias
// [channels] or undefined. Returns x's type in channels_last memory. Differentiable in x and
// kernel when there is no bias (a bias comes from folding and is for inference).
at::Tensor Depthwise(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                     int64_t stride, std::array<int64_t, 2> pad_h, std::array<int64_t, 2> pad_w);

}  // namespace atelier::nn::kernels
