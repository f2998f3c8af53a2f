#include "common/nn/kernels/batch_norm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "common/nn/kernels/channels_last.h"
#include "common/nn/kernels/sum_rows.h"

namespace atelier::nn::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Clamp ClampOf(Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return {0, kInfinity};
    case Activation::kRelu6:
      return {0, 6};
    default:
      return {-kInfinity, kInfinity};
  }
}

// The [rows][c] matrix of a channels_last tensor, cut into chunks that stay in the second-level
// cache. The cut does not depend on the number of threads, and so neither do the sums.
struct Chunks {
  explicit Chunks(const at::Tensor& x)
      : c(x.size(1)),
        rows(x.numel() / c),
        chunk(std::clamp<int64_t>(32768 / c, 64, 1024)),
        count((rows + chunk - 1) / chunk),
        bf16(x.scalar_type() == at::kBFloat16) {}
  int64_t begin(int64_t i) const { return i * chunk; }
  int64_t size(int64_t i) const { return std::min(chunk, rows - i * chunk); }
  const void* at(const at::Tensor& x, int64_t i) const {
    return static_cast<const char*>(x.data_ptr()) + begin(i) * c * (bf16 ? 2 : 4);
  }
  void* at(at::Tensor& x, int64_t i) const {
    return static_cast<char*>(x.data_ptr()) + begin(i) * c * (bf16 ? 2 : 4);
  }
  template <typename Fn>
  void ForEach(Fn fn) const {
    at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) fn(i);
    });
  }
  int64_t c, rows, chunk, count;
  bool bf16;
};

struct Statistics {
  at::Tensor mean, variance;  // float [c]; biased
};

Statistics ComputeStatistics(const at::Tensor& x, const Chunks& chunks) {
  const int64_t c = chunks.c;
  const at::Tensor means = at::empty({chunks.count, c}, at::kFloat);
  const at::Tensor squares = at::empty({chunks.count, c}, at::kFloat);
  float* const m = means.data_ptr<float>();
  float* const q = squares.data_ptr<float>();
  chunks.ForEach([&](int64_t i) {
    SimdKernels().moments(chunks.bf16, chunks.at(x, i), chunks.size(i), c, m + i * c, q + i * c);
  });
  Statistics out{at::empty({c}, at::kFloat), at::empty({c}, at::kFloat)};
  float* const mean_out = out.mean.data_ptr<float>();
  float* const variance_out = out.variance.data_ptr<float>();
  const auto n = static_cast<double>(chunks.rows);
  at::parallel_for(0, c, 64, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k) {
      double sum = 0;
      for (int64_t i = 0; i < chunks.count; ++i) {
        sum += static_cast<double>(m[i * c + k]) * static_cast<double>(chunks.size(i));
      }
      const double mean = sum / n;
      double m2 = 0;
      for (int64_t i = 0; i < chunks.count; ++i) {
        const double d = static_cast<double>(m[i * c + k]) - mean;
        m2 += static_cast<double>(q[i * c + k]) + d * d * static_cast<double>(chunks.size(i));
      }
      mean_out[k] = static_cast<float>(mean);
      variance_out[k] = static_cast<float>(m2 / n);
    }
  });
  return out;
}

at::Tensor ScaleShift(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                      Clamp clamp, const Chunks& chunks) {
  at::Tensor y = at::empty_like(x);
  const float* a = scale.data_ptr<float>();
  const float* b = shift.data_ptr<float>();
  chunks.ForEach([&](int64_t i) {
    SimdKernels().scale_shift(chunks.bf16, chunks.at(x, i), a, b, clamp, chunks.size(i), chunks.c,
                              chunks.at(y, i));
  });
  return y;
}

struct BackwardSums {
  at::Tensor g, gx;  // float [c]: sum of g, of g * (x - mean)
};

BackwardSums ComputeSums(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& scale,
                         const at::Tensor& shift, const at::Tensor& mean, Clamp clamp,
                         const Chunks& chunks) {
  const int64_t c = chunks.c;
  const at::Tensor parts = at::empty({2, chunks.count, c}, at::kFloat);
  float* const g = parts.data_ptr<float>();
  float* const gx = g + chunks.count * c;
  const float* a = scale.data_ptr<float>();
  const float* b = shift.data_ptr<float>();
  const float* m = mean.data_ptr<float>();
  chunks.ForEach([&](int64_t i) {
    SimdKernels().scale_shift_sums(chunks.bf16, chunks.at(x, i), chunks.at(dy, i), a, b, m, clamp,
                                   chunks.size(i), c, g + i * c, gx + i * c);
  });
  BackwardSums out{at::empty({c}, at::kFloat), at::empty({c}, at::kFloat)};
  SumRows(g, chunks.count, c, out.g.data_ptr<float>());
  SumRows(gx, chunks.count, c, out.gx.data_ptr<float>());
  return out;
}

class BatchNormFunction : public torch::autograd::Function<BatchNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& gamma,
                            const at::Tensor& beta, const at::Tensor& mean,
                            const at::Tensor& variance, double epsilon, int64_t activation) {
    const at::Tensor inv_std = (variance + epsilon).rsqrt();
    const at::Tensor scale = gamma * inv_std;
    const at::Tensor shift = beta - mean * scale;
    ctx->save_for_backward({x, scale, shift, mean, inv_std});
    ctx->saved_data["activation"] = activation;
    return ScaleShift(x, scale, shift, ClampOf(static_cast<Activation>(activation)), Chunks(x));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor &scale = saved[1], &shift = saved[2], &mean = saved[3], &inv_std = saved[4];
    const Clamp clamp = ClampOf(static_cast<Activation>(ctx->saved_data["activation"].toInt()));
    const at::Tensor dy = ChannelsLast(grads[0].to(x.scalar_type()));
    const Chunks chunks(x);
    const BackwardSums sums = ComputeSums(x, dy, scale, shift, mean, clamp, chunks);
    // dx = scale * (g - mean(g) - xhat * mean(g * xhat))
    const auto n = static_cast<double>(chunks.rows);
    const at::Tensor by_x = scale * sums.gx * inv_std.square() * (-1.0 / n);
    const at::Tensor constant = scale * sums.g * (-1.0 / n);
    at::Tensor dx = at::empty_like(x);
    chunks.ForEach([&](int64_t i) {
      SimdKernels().scale_shift_backward(chunks.bf16, chunks.at(x, i), chunks.at(dy, i),
                                         scale.data_ptr<float>(), shift.data_ptr<float>(),
                                         mean.data_ptr<float>(), clamp, scale.data_ptr<float>(),
                                         by_x.data_ptr<float>(), constant.data_ptr<float>(),
                                         chunks.size(i), chunks.c, chunks.at(dx, i));
    });
    return {dx, sums.gx * inv_std, sums.g, {}, {}, {}, {}};
  }
};

}  // namespace

bool SupportsBatchNorm(const at::Tensor& x, const at::Tensor& gamma) {
  return IsForVectors(x) && gamma.scalar_type() == at::kFloat && x.numel() > 0;
}

at::Tensor BatchNormTraining(const at::Tensor& x, const BatchNormVariables& v,
                             Activation activation) {
  const at::Tensor input = ChannelsLast(x);
  Statistics statistics;
  {
    const at::NoGradGuard no_grad;
    statistics = ComputeStatistics(input, Chunks(input));
    v.moving_mean.mul_(v.momentum).add_(statistics.mean, 1 - v.momentum);
    v.moving_variance.mul_(v.momentum).add_(statistics.variance, 1 - v.momentum);
  }
  return BatchNormFunction::apply(input, v.gamma, v.beta, statistics.mean, statistics.variance,
                                  v.epsilon, static_cast<int64_t>(activation));
}

at::Tensor BatchNormInference(const at::Tensor& x, const BatchNormVariables& v,
                              Activation activation) {
  const at::Tensor input = ChannelsLast(x);
  const at::Tensor scale = v.gamma * (v.moving_variance + v.epsilon).rsqrt();
  const at::Tensor shift = v.beta - v.moving_mean * scale;
  return ScaleShift(input, scale, shift, ClampOf(activation), Chunks(input));
}

}  // namespace atelier::nn::kernels
