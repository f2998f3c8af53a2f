#include "common/nn/kernels/depthwise.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "common/nn/kernels/channels_last.h"
#include "common/nn/kernels/sum_rows.h"

namespace atelier::nn::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// [channels, 1, k, k] -> [k*k][channels] float; flipped: turned by 180 degrees.
at::Tensor Pack(const at::Tensor& kernel, bool flipped) {
  const at::Tensor k = flipped ? kernel.flip({2, 3}) : kernel;
  return k.reshape({kernel.size(0), -1}).t().to(at::kFloat).contiguous();
}

at::Tensor Forward(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias,
                   const WindowShape& s) {
  at::Tensor y = EmptyLike(x, s.oh, s.ow);
  const bool bf16 = x.scalar_type() == at::kBFloat16;
  const float* b = bias.defined() ? bias.data_ptr<float>() : nullptr;
  const float* w = packed.data_ptr<float>();
  at::parallel_for(0, s.n * s.oh, RowGrain(s.ow * s.c), [&](int64_t begin, int64_t end) {
    SimdKernels().depthwise_forward(s, bf16, x.data_ptr(), w, b, y.data_ptr(), begin, end);
  });
  return y;
}

at::Tensor BackwardInput(const at::Tensor& dy, const at::Tensor& kernel, const WindowShape& s) {
  if (s.stride == 1) {  // a forward convolution of dy with the turned kernel
    WindowShape t = s;
    t.h = s.oh;
    t.w = s.ow;
    t.oh = s.h;
    t.ow = s.w;
    t.pad_top = s.k - 1 - s.pad_top;
    t.pad_left = s.k - 1 - s.pad_left;
    return Forward(dy, Pack(kernel, /*flipped=*/true), {}, t);
  }
  at::Tensor dx = EmptyLike(dy, s.h, s.w);
  const at::Tensor packed = Pack(kernel, /*flipped=*/false);
  const bool bf16 = dy.scalar_type() == at::kBFloat16;
  const float* w = packed.data_ptr<float>();
  at::parallel_for(0, s.n * s.h, RowGrain(s.w * s.c), [&](int64_t begin, int64_t end) {
    SimdKernels().depthwise_backward_input(s, bf16, dy.data_ptr(), w, dx.data_ptr(), begin, end);
  });
  return dx;
}

// One partial sum an image, added up in order: the same for every number of threads.
at::Tensor BackwardWeights(const at::Tensor& x, const at::Tensor& dy, const WindowShape& s) {
  at::Tensor partial = at::empty({s.n, s.k * s.k, s.c}, at::kFloat);
  const bool bf16 = x.scalar_type() == at::kBFloat16;
  float* d = partial.data_ptr<float>();
  at::parallel_for(0, s.n, 1, [&](int64_t begin, int64_t end) {
    std::fill(d + begin * s.k * s.k * s.c, d + end * s.k * s.k * s.c, 0.0F);
    for (int64_t i = begin; i < end; ++i) {
      SimdKernels().depthwise_backward_weights(s, bf16, x.data_ptr(), dy.data_ptr(),
                                               d + i * s.k * s.k * s.c, i * s.oh, (i + 1) * s.oh);
    }
  });
  at::Tensor sum = at::empty({s.k * s.k, s.c}, at::kFloat);
  SumRows(d, s.n, s.k * s.k * s.c, sum.data_ptr<float>());
  return sum.t().reshape({s.c, 1, s.k, s.k}).contiguous();
}

class DepthwiseFunction : public torch::autograd::Function<DepthwiseFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& kernel,
                            int64_t stride, std::vector<int64_t> pads) {
    const at::Tensor input = ChannelsLast(x);
    ctx->save_for_backward({input, kernel});
    pads.push_back(stride);
    const WindowShape s =
        ShapeOf(input, kernel.size(2), stride, {pads[0], pads[1]}, {pads[2], pads[3]});
    ctx->saved_data["pads_and_stride"] = pads;
    return Forward(input, Pack(kernel, /*flipped=*/false), {}, s);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& kernel = saved[1];
    const auto p = ctx->saved_data["pads_and_stride"].toIntVector();
    const WindowShape s = ShapeOf(x, kernel.size(2), p[4], {p[0], p[1]}, {p[2], p[3]});
    const at::Tensor dy = ChannelsLast(grads[0].to(x.scalar_type()));
    at::Tensor dx;
    if (ctx->needs_input_grad(0)) dx = BackwardInput(dy, kernel, s);
    at::Tensor dk;
    if (ctx->needs_input_grad(1)) dk = BackwardWeights(x, dy, s);
    return {dx, dk, {}, {}};
  }
};

}  // namespace

bool SupportsDepthwise(const at::Tensor& x, const at::Tensor& kernel) {
  return IsForVectors(x) && kernel.scalar_type() == at::kFloat && kernel.size(1) == 1 &&
         kernel.size(2) == kernel.size(3) && (kernel.size(2) == 3 || kernel.size(2) == 5);
}

at::Tensor Depthwise(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                     int64_t stride, std::array<int64_t, 2> pad_h, std::array<int64_t, 2> pad_w) {
  if (at::GradMode::is_enabled() && (x.requires_grad() || kernel.requires_grad())) {
    TORCH_CHECK(!bias.defined(), "a depthwise bias is for inference only");
    return DepthwiseFunction::apply(x, kernel, stride,
                                    std::vector<int64_t>{pad_h[0], pad_h[1], pad_w[0], pad_w[1]});
  }
  const at::Tensor input = ChannelsLast(x);
  return Forward(input, Pack(kernel, /*flipped=*/false), bias,
                 ShapeOf(input, kernel.size(2), stride, pad_h, pad_w));
}

}  // namespace atelier::nn::kernels
