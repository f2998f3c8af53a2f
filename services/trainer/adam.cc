#include "services/trainer/adam.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "absl/strings/str_cat.h"

namespace atelier::trainer {
namespace {

constexpr int64_t kGrain = 32'768;

// One clone an instruction set, chosen at load. Elementwise, so splitting changes no bit.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#endif
void
Update(float* p, const float* g, float* m, float* v, int64_t n, float alpha, float one_minus_beta1,
       float one_minus_beta2, float epsilon) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] += (g[i] - m[i]) * one_minus_beta1;
    v[i] += (g[i] * g[i] - v[i]) * one_minus_beta2;
    p[i] -= alpha * m[i] / (std::sqrt(v[i]) + epsilon);
  }
}

// The gradient with the parameter's memory layout, so that one flat loop serves both.
at::Tensor AlignedGradient(const at::Tensor& parameter) {
  const at::Tensor& gradient = parameter.grad();
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

}  // namespace

Adam::Adam(std::vector<nn::NamedTensor> parameters, const v1::OptimizerSpec& spec)
    : parameters_(std::move(parameters)),
      beta1_(spec.beta1() == 0 ? 0.9 : static_cast<double>(spec.beta1())),
      beta2_(spec.beta2() == 0 ? 0.999 : static_cast<double>(spec.beta2())),
      epsilon_(spec.epsilon() == 0 ? 1e-7 : static_cast<double>(spec.epsilon())) {
  at::NoGradGuard no_grad;
  for (const nn::NamedTensor& parameter : parameters_) {
    m_.push_back(at::zeros_like(parameter.tensor));
    v_.push_back(at::zeros_like(parameter.tensor));
  }
}

void Adam::Step(double learning_rate) {
  at::NoGradGuard no_grad;
  ++steps_;
  const double t = static_cast<double>(steps_);
  const double alpha =
      learning_rate * std::sqrt(1.0 - std::pow(beta2_, t)) / (1.0 - std::pow(beta1_, t));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor parameter = parameters_[i].tensor;
    if (!parameter.grad().defined()) continue;
    if (parameter.device().is_cpu() && parameter.scalar_type() == at::kFloat) {
      const at::Tensor gradient = AlignedGradient(parameter);
      float* p = parameter.data_ptr<float>();
      const float* g = gradient.data_ptr<float>();
      float* m = m_[i].data_ptr<float>();
      float* v = v_[i].data_ptr<float>();
      at::parallel_for(0, parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
        Update(p + begin, g + begin, m + begin, v + begin, end - begin, static_cast<float>(alpha),
               static_cast<float>(1.0 - beta1_), static_cast<float>(1.0 - beta2_),
               static_cast<float>(epsilon_));
      });
    } else {
      const at::Tensor& g = parameter.grad();
      m_[i].add_(g - m_[i], 1.0 - beta1_);
      v_[i].add_(g * g - v_[i], 1.0 - beta2_);
      parameter.sub_(alpha * m_[i] / (v_[i].sqrt() + epsilon_));
    }
    parameter.mutable_grad() = at::Tensor();
  }
}

std::map<std::string, at::Tensor> Adam::State() const {
  std::map<std::string, at::Tensor> state;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    state["adam_m/" + parameters_[i].name] = m_[i];
    state["adam_v/" + parameters_[i].name] = v_[i];
  }
  return state;
}

absl::Status Adam::Restore(const std::map<std::string, at::Tensor>& tensors, int64_t steps) {
  at::NoGradGuard no_grad;
  for (auto& [name, live] : State()) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.sizes() != live.sizes()) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint's ", name, " is missing or misshapen"));
    }
    at::Tensor target = live;
    target.copy_(found->second);
  }
  steps_ = steps;
  return absl::OkStatus();
}

}  // namespace atelier::trainer
