// The vector kernels, one table per instruction set, chosen once by the CPU. No torch here.
//
// All pointers are to dense NHWC memory. `bf16` says how feature maps are stored (uint16_t holding
// bfloat16, or float); everything else is float. Row ranges let the caller split the work.
#pragma once

#include <cstdint>

namespace atelier::nn::kernels {

// A window that goes over rows and columns: a depthwise kernel or a pooling.
struct WindowShape {
  int64_t n, h, w, c;  // input
  int64_t oh, ow;      // output
  int64_t k, stride;   // k at most 5; depthwise: k 3 or 5, stride 1 or 2
  int64_t pad_top, pad_left;
};

// Which activation follows: y = min(max(z, low), high).
struct Clamp {
  float low, high;
};

struct KernelTable {
  const char* isa;
  // y[rows of n*oh] = conv(x, weights [k*k][c]) + bias (may be null).
  void (*depthwise_forward)(const WindowShape&, bool bf16, const void* x, const float* weights,
                            const float* bias, void* y, int64_t row_begin, int64_t row_end);
  // dx[rows of n*h] from dy and the weights.
  void (*depthwise_backward_input)(const WindowShape&, bool bf16, const void* dy,
                                   const float* weights, void* dx, int64_t row_begin,
                                   int64_t row_end);
  // dweights [k*k][c] += sum over the rows of n*oh.
  void (*depthwise_backward_weights)(const WindowShape&, bool bf16, const void* x, const void* dy,
                                     float* dweights, int64_t row_begin, int64_t row_end);
  // y[rows of n*oh] = the window's largest value, a NaN before all; padding never wins. which (may
  // be null) = the number kh*k+kw of the first place that has it.
  void (*max_pool_forward)(const WindowShape&, bool bf16, const void* x, void* y, uint8_t* which,
                           int64_t row_begin, int64_t row_end);
  // dx[rows of n*h] = sum of dy over the windows whose `which` is that place.
  void (*max_pool_backward)(const WindowShape&, bool bf16, const void* dy, const uint8_t* which,
                            void* dx, int64_t row_begin, int64_t row_end);
  // Of x [rows][c]: mean[c] and sum of squared deviations from it m2[c].
  void (*moments)(bool bf16, const void* x, int64_t rows, int64_t c, float* mean, float* m2);
  // y = clamp(x * scale + shift).
  void (*scale_shift)(bool bf16, const void* x, const float* scale, const float* shift, Clamp clamp,
                      int64_t rows, int64_t c, void* y);
  // With g = dy where low < x*scale+shift < high, else 0: sum_g[c] = sum g, sum_gx[c] = sum
  // g*(x-mean).
  void (*scale_shift_sums)(bool bf16, const void* x, const void* dy, const float* scale,
                           const float* shift, const float* mean, Clamp clamp, int64_t rows,
                           int64_t c, float* sum_g, float* sum_gx);
  // dx = a*g + b*(x - mean) + d, per channel; g as above.
  void (*scale_shift_backward)(bool bf16, const void* x, const void* dy, const float* scale,
                               const float* shift, const float* mean, Clamp clamp, const float* a,
                               const float* b, const float* d, int64_t rows, int64_t c, void* dx);
};

// The best table this CPU runs; ATELIER_ISA=portable|avx2|avx512|avx512_bf16 takes a lesser one
// (for tests and to reproduce another machine's numbers).
const KernelTable& SimdKernels();
// Every table this CPU runs, best first.
const KernelTable* const* AllSimdKernels();  // null-terminated

}  // namespace atelier::nn::kernels
