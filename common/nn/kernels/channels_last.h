// What the kernels on channels_last tensors share. Torch header.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "common/nn/kernels/simd_kernels.h"

namespace atelier::nn::kernels {

// Whether the vector kernels take x: float or bf16 on the CPU, with channels for the widest vector.
inline bool IsForVectors(const at::Tensor& x) {
  constexpr int64_t kMinChannels = 16;
  return x.device().is_cpu() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.size(1) >= kMinChannels;
}

inline at::Tensor ChannelsLast(const at::Tensor& x) {
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

// Channels_last with x's pictures, channels and type.
inline at::Tensor EmptyLike(const at::Tensor& x, int64_t h, int64_t w) {
  return at::empty({x.size(0), x.size(1), h, w},
                   x.options().memory_format(at::MemoryFormat::ChannelsLast));
}

// Pads: before and after.
inline WindowShape ShapeOf(const at::Tensor& x, int64_t k, int64_t stride,
                           std::array<int64_t, 2> pad_h, std::array<int64_t, 2> pad_w) {
  WindowShape s{};
  s.n = x.size(0);
  s.c = x.size(1);
  s.h = x.size(2);
  s.w = x.size(3);
  s.k = k;
  s.stride = stride;
  s.oh = (s.h + pad_h[0] + pad_h[1] - k) / stride + 1;
  s.ow = (s.w + pad_w[0] + pad_w[1] - k) / stride + 1;
  s.pad_top = pad_h[0];
  s.pad_left = pad_w[0];
  return s;
}

// Rows of `row_items` values that one task of at::parallel_for should have at least.
inline int64_t RowGrain(int64_t row_items) {
  constexpr int64_t kBytesPerTask = 1 << 16;
  return std::max<int64_t>(1, kBytesPerTask / (4 * row_items));
}

}  // namespace atelier::nn::kernels
