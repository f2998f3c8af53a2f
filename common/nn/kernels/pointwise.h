// 1x1 convolution for training in bf16, whose kernel's gradient is a matrix product. Torch header.
//
// oneDNN's convolutions pick another primitive for that gradient, which takes three to seven times
// the matrix product's time where the processor has AMX and nearly as much as it elsewhere
// (tests/bench, bench_kernels). Forward and the input's gradient are oneDNN's.
#pragma once

#include <torch/torch.h>

namespace atelier::nn::kernels {

// bf16 on a CPU with AVX-512, 1x1 kernel, at least 64 channels in and out.
bool SupportsPointwise(const at::Tensor& x, const at::Tensor& kernel);

// x NCHW in channels_last memory (made so when it is not), kernel [out, in, 1, 1] of any float
// type, cast to x's. Returns bf16 in channels_last memory. Differentiable in both. Holds only the
// pixels that the stride visits.
at::Tensor Pointwise(const at::Tensor& x, const at::Tensor& kernel, int64_t stride);

}  // namespace atelier::nn::kernels
