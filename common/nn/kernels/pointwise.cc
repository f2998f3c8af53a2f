#include "common/nn/kernels/pointwise.h"

#include <algorithm>

#include "common/nn/kernels/channels_last.h"

namespace atelier::nn::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// With fewer the product is no faster than the convolution.
constexpr int64_t kMinWidth = 64;

// The [pixels][channels] matrix of a channels_last tensor, without a copy.
at::Tensor Pixels(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).reshape({-1, x.size(1)}); }

at::Tensor Visited(const at::Tensor& x, int64_t stride) {
  const at::Tensor visited = stride == 1 ? x : x.slice(2, 0, {}, stride).slice(3, 0, {}, stride);
  return ChannelsLast(visited);
}

// Without AVX-512 oneDNN has no bf16, and LibTorch's own products sum in it.
bool HasProducts() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return true;
#endif
}

class PointwiseFunction : public torch::autograd::Function<PointwiseFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& kernel,
                            int64_t stride) {
    const at::Tensor visited = Visited(x, stride);
    const at::Tensor k = kernel.to(x.scalar_type());
    ctx->save_for_backward({visited, k});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["input_sizes"] = x.sizes().vec();
    ctx->saved_data["kernel_type"] = kernel.scalar_type();
    return at::conv2d(visited, k);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &visited = saved[0], &k = saved[1];
    const at::Tensor dy = ChannelsLast(grads[0].to(visited.scalar_type()));
    at::Tensor dx;
    if (ctx->needs_input_grad(0)) dx = BackwardInput(ctx, dy, visited, k);
    at::Tensor dk;
    if (ctx->needs_input_grad(1)) {
      dk = at::mm(Pixels(dy).t(), Pixels(visited))
               .view(k.sizes())
               .to(ctx->saved_data["kernel_type"].toScalarType());
    }
    return {dx, dk, {}};
  }

 private:
  static at::Tensor BackwardInput(AutogradContext* ctx, const at::Tensor& dy,
                                  const at::Tensor& visited, const at::Tensor& k) {
    const at::Tensor d_visited =
        std::get<0>(at::convolution_backward(dy, visited, k, c10::nullopt, {1, 1}, {0, 0}, {1, 1},
                                             false, {0, 0}, 1, {true, false, false}));
    const int64_t stride = ctx->saved_data["stride"].toInt();
    if (stride == 1) return d_visited;
    const auto sizes = ctx->saved_data["input_sizes"].toIntVector();
    at::Tensor dx = EmptyLike(d_visited, sizes[2], sizes[3]).zero_();
    dx.slice(2, 0, {}, stride).slice(3, 0, {}, stride).copy_(d_visited);
    return dx;
  }
};

}  // namespace

bool SupportsPointwise(const at::Tensor& x, const at::Tensor& kernel) {
  static const bool has_products = HasProducts();
  return has_products && x.device().is_cpu() && x.scalar_type() == at::kBFloat16 &&
         kernel.size(2) == 1 && kernel.size(3) == 1 &&
         std::min(kernel.size(0), kernel.size(1)) >= kMinWidth;
}

at::Tensor Pointwise(const at::Tensor& x, const at::Tensor& kernel, int64_t stride) {
  return PointwiseFunction::apply(x, kernel, stride);
}

}  // namespace atelier::nn::kernels
