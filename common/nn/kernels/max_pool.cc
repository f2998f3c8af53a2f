#include "common/nn/kernels/max_pool.h"

#include <ATen/Parallel.h>

#include <vector>

#include "common/nn/kernels/channels_last.h"

namespace atelier::nn::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// `which` undefined: not wanted.
at::Tensor Forward(const at::Tensor& x, const WindowShape& s, const at::Tensor& which) {
  at::Tensor y = EmptyLike(x, s.oh, s.ow);
  const bool bf16 = x.scalar_type() == at::kBFloat16;
  uint8_t* const places = which.defined() ? which.data_ptr<uint8_t>() : nullptr;
  at::parallel_for(0, s.n * s.oh, RowGrain(s.ow * s.c), [&](int64_t begin, int64_t end) {
    SimdKernels().max_pool_forward(s, bf16, x.data_ptr(), y.data_ptr(), places, begin, end);
  });
  return y;
}

class MaxPoolFunction : public torch::autograd::Function<MaxPoolFunction> {
 public:
  // geometry: kernel, stride, pads before and after of the rows, of the columns.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const std::vector<int64_t>& geometry) {
    const at::Tensor input = ChannelsLast(x);
    const WindowShape s = GeometryOf(input, geometry);
    const at::Tensor which = at::empty(
        {s.n, s.c, s.oh, s.ow}, at::dtype(at::kByte).memory_format(at::MemoryFormat::ChannelsLast));
    ctx->save_for_backward({which});
    ctx->saved_data["input_sizes"] = input.sizes().vec();
    ctx->saved_data["geometry"] = geometry;
    return Forward(input, s, which);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor which = ctx->get_saved_variables()[0];
    const at::Tensor dy = ChannelsLast(grads[0]);
    at::Tensor dx = at::empty(ctx->saved_data["input_sizes"].toIntVector(),
                              dy.options().memory_format(at::MemoryFormat::ChannelsLast));
    const WindowShape s = GeometryOf(dx, ctx->saved_data["geometry"].toIntVector());
    const bool bf16 = dy.scalar_type() == at::kBFloat16;
    at::parallel_for(0, s.n * s.h, RowGrain(s.w * s.c), [&](int64_t begin, int64_t end) {
      SimdKernels().max_pool_backward(s, bf16, dy.data_ptr(), which.data_ptr<uint8_t>(),
                                      dx.data_ptr(), begin, end);
    });
    return {dx, {}};
  }

 private:
  static WindowShape GeometryOf(const at::Tensor& x, const std::vector<int64_t>& g) {
    return ShapeOf(x, g[0], g[1], {g[2], g[3]}, {g[4], g[5]});
  }
};

}  // namespace

bool SupportsMaxPool(const at::Tensor& x, int64_t kernel) { return IsForVectors(x) && kernel <= 5; }

at::Tensor MaxPool(const at::Tensor& x, int64_t kernel, int64_t stride,
                   std::array<int64_t, 2> pad_h, std::array<int64_t, 2> pad_w) {
  if (at::GradMode::is_enabled() && x.requires_grad()) {
    return MaxPoolFunction::apply(
        x, std::vector<int64_t>{kernel, stride, pad_h[0], pad_h[1], pad_w[0], pad_w[1]});
  }
  const at::Tensor input = ChannelsLast(x);
  return Forward(input, ShapeOf(input, kernel, stride, pad_h, pad_w), {});
}

}  // namespace atelier::nn::kernels
