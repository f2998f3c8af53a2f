#include "common/nn/layers.h"

#include <algorithm>
#include <limits>

#include "common/nn/kernels/batch_norm.h"
#include "common/nn/kernels/depthwise.h"
#include "common/nn/kernels/max_pool.h"
#include "common/nn/kernels/pointwise.h"

namespace atelier::nn {
namespace {

struct Padding2d {
  AxisPadding h, w;
  bool symmetric() const { return h.before == h.after && w.before == w.after; }
};

Padding2d PaddingOf2d(const at::Tensor& x, int64_t kernel_h, int64_t kernel_w, int64_t stride,
                      Padding padding) {
  return {PaddingOf(x.size(2), kernel_h, stride, padding),
          PaddingOf(x.size(3), kernel_w, stride, padding)};
}

at::Tensor Pad(const at::Tensor& x, const Padding2d& p, double value) {
  return at::constant_pad_nd(x, {p.w.before, p.w.after, p.h.before, p.h.after}, value);
}

at::Tensor ConvolveWithLibTorch(const at::Tensor& x, const at::Tensor& kernel,
                                const at::Tensor& bias, int64_t stride, Padding padding,
                                int64_t groups) {
  const at::Tensor k = kernel.to(x.scalar_type());
  const at::Tensor b = bias.defined() ? bias.to(x.scalar_type()) : bias;
  const Padding2d p = PaddingOf2d(x, kernel.size(2), kernel.size(3), stride, padding);
  if (p.symmetric()) {
    return at::conv2d(x, k, b, stride, {p.h.before, p.w.before}, 1, groups);
  }
  return at::conv2d(Pad(x, p, 0), k, b, stride, at::IntArrayRef{0, 0}, 1, groups);
}

// One shifted product a kernel's pixel. For float64: LibTorch goes through its channels one by one.
at::Tensor DepthwiseByShifts(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                             int64_t stride, const Padding2d& p) {
  const at::Tensor padded = Pad(x, p, 0);
  const int64_t height = (padded.size(2) - kernel.size(2)) / stride + 1;
  const int64_t width = (padded.size(3) - kernel.size(3)) / stride + 1;
  at::Tensor y = bias.defined() ? bias.reshape({1, -1, 1, 1}) : at::zeros({1}, x.options());
  for (int64_t h = 0; h < kernel.size(2); ++h) {
    for (int64_t w = 0; w < kernel.size(3); ++w) {
      const at::Tensor shifted = padded.slice(2, h, h + (height - 1) * stride + 1, stride)
                                     .slice(3, w, w + (width - 1) * stride + 1, stride);
      y = y + shifted * kernel.select(3, w).select(2, h).reshape({1, -1, 1, 1});
    }
  }
  return y;
}

// LibTorch 1.13 has no backward of hardtanh in bf16 (nor has clamp a cheap one).
class Relu6Function : public torch::autograd::Function<Relu6Function> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x) {
    at::Tensor y = at::clamp(x, 0, 6);
    ctx->save_for_backward({y});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor y = ctx->get_saved_variables()[0];
    // The gradient at exactly 0 and 6 is 0, as TensorFlow's Relu6Grad.
    return {grads[0] * at::logical_and(y > 0, y < 6)};
  }
};

BatchNormVariables WithGamma(BatchNormVariables v) {
  if (!v.gamma.defined()) v.gamma = at::ones_like(v.moving_variance);
  return v;
}

}  // namespace

at::Tensor Conv2d(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                  int64_t stride, Padding padding) {
  if (at::GradMode::is_enabled() && !bias.defined() && kernels::SupportsPointwise(x, kernel)) {
    return kernels::Pointwise(x, kernel, stride);  // no padding ever adds to a 1x1 kernel
  }
  return ConvolveWithLibTorch(x, kernel, bias, stride, padding, 1);
}

at::Tensor DepthwiseConv2d(const at::Tensor& x, const at::Tensor& kernel, const at::Tensor& bias,
                           int64_t stride, Padding padding) {
  const Padding2d p = PaddingOf2d(x, kernel.size(2), kernel.size(3), stride, padding);
  if (kernels::SupportsDepthwise(x, kernel)) {
    return kernels::Depthwise(x, kernel, bias, stride, {p.h.before, p.h.after},
                              {p.w.before, p.w.after});
  }
  if (x.scalar_type() == at::kDouble && kernel.scalar_type() == at::kDouble) {
    return DepthwiseByShifts(x, kernel, bias, stride, p);
  }
  return ConvolveWithLibTorch(x, kernel, bias, stride, padding, kernel.size(0));
}

at::Tensor MaxPool2d(const at::Tensor& x, int64_t kernel, int64_t stride, Padding padding) {
  const Padding2d p = PaddingOf2d(x, kernel, kernel, stride, padding);
  if (kernels::SupportsMaxPool(x, kernel)) {
    return kernels::MaxPool(x, kernel, stride, {p.h.before, p.h.after}, {p.w.before, p.w.after});
  }
  if (p.symmetric()) {
    return at::max_pool2d(x, kernel, stride, {p.h.before, p.w.before});
  }
  return at::max_pool2d(Pad(x, p, -std::numeric_limits<double>::infinity()), kernel, stride);
}

at::Tensor AveragePool2d(const at::Tensor& x, int64_t kernel, int64_t stride, Padding padding) {
  const Padding2d p = PaddingOf2d(x, kernel, kernel, stride, padding);
  if (p.symmetric()) {
    return at::avg_pool2d(x, kernel, stride, {p.h.before, p.w.before}, /*ceil_mode=*/false,
                          /*count_include_pad=*/false);
  }
  const auto sum = [&](const at::Tensor& t) {
    return at::avg_pool2d(Pad(t, p, 0), kernel, stride);
  };
  return sum(x) / sum(at::ones_like(x.slice(0, 0, 1).slice(1, 0, 1)));
}

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kRelu6:
      return Relu6Function::apply(x);
    case Activation::kSwish:
      return at::silu(x);
    case Activation::kSigmoid:
      return at::sigmoid(x);
  }
  return x;
}

at::Tensor BatchNormTraining(const at::Tensor& x, const BatchNormVariables& given,
                             Activation activation) {
  const BatchNormVariables v = WithGamma(given);
  if (kernels::SupportsBatchNorm(x, v.gamma)) {
    return kernels::BatchNormTraining(x, v, activation);
  }
  // Undefined running statistics: LibTorch would put the unbiased variance there.
  auto [y, mean, inv_std] =
      at::native_batch_norm(x, v.gamma, v.beta, {}, {}, /*training=*/true, 0.0, v.epsilon);
  const at::NoGradGuard no_grad;
  const at::Tensor variance = inv_std.detach().pow(-2).sub_(v.epsilon).clamp_min_(0);
  v.moving_mean.mul_(v.momentum).add_(mean.detach(), 1 - v.momentum);
  v.moving_variance.mul_(v.momentum).add_(variance, 1 - v.momentum);
  const at::AutoGradMode with_grad(true);
  return Activate(y, activation);
}

at::Tensor BatchNormInference(const at::Tensor& x, const BatchNormVariables& given,
                              Activation activation) {
  const BatchNormVariables v = WithGamma(given);
  const bool differentiable =
      at::GradMode::is_enabled() && (x.requires_grad() || v.beta.requires_grad());
  if (!differentiable && kernels::SupportsBatchNorm(x, v.gamma)) {
    return kernels::BatchNormInference(x, v, activation);
  }
  const at::Tensor y =
      std::get<0>(at::native_batch_norm(x, v.gamma, v.beta, v.moving_mean, v.moving_variance,
                                        /*training=*/false, 0.0, v.epsilon));
  return Activate(y, activation);
}

}  // namespace atelier::nn
