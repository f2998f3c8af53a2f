// The own kernels against LibTorch's operators: depthwise convolution, and batch norm with its
// activation, forward and backward, at shapes of Xception and EfficientNet-Lite0 (192 px, batch
// 16). Names are KERNEL/SHAPE/PRECISION/atelier|libtorch.
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/caching_allocator.h"
#include "common/nn/calm_openmp.h"
#include "common/nn/kernels/batch_norm.h"
#include "common/nn/kernels/depthwise.h"
#include "common/nn/runtime.h"

namespace atelier::nn {
namespace {

constexpr int64_t kBatch = 16;

struct Shape {
  const char* where;
  int64_t side, channels, kernel, stride;
};
constexpr Shape kDepthwise[] = {
    {"xception block2", 93, 128, 3, 1},  {"xception middle", 12, 728, 3, 1},
    {"lite0 blocks.1.0", 96, 96, 3, 2},  {"lite0 blocks.2.1", 24, 240, 5, 1},
    {"lite0 blocks.5.1", 6, 1152, 5, 1},
};
constexpr Shape kBatchNorm[] = {
    {"xception block2", 93, 128, 0, 0},
    {"xception middle", 12, 728, 0, 0},
    {"lite0 blocks.1.0", 96, 96, 0, 0},
    {"lite0 blocks.5.1", 6, 1152, 0, 0},
};

at::Tensor Random(const Shape& shape, at::ScalarType type) {
  return torch::randn({kBatch, shape.channels, shape.side, shape.side})
      .contiguous(at::MemoryFormat::ChannelsLast)
      .to(type);
}

void DepthwiseStep(benchmark::State& state, const Shape& shape, at::ScalarType type, bool own) {
  const int64_t pad = shape.kernel / 2;
  at::Tensor x = Random(shape, type).requires_grad_(true);
  const at::Tensor kernel =
      torch::randn({shape.channels, 1, shape.kernel, shape.kernel}).requires_grad_(true);
  at::Tensor dy;
  for (auto _ : state) {
    // A master kernel in float32 is cast in each step, as autocast does.
    const at::Tensor y =
        own ? kernels::Depthwise(x, kernel, {}, shape.stride, {pad, pad}, {pad, pad})
            : at::conv2d(x, kernel.to(type), {}, shape.stride, pad, 1, shape.channels);
    if (!dy.defined()) dy = torch::ones_like(y);
    y.backward(dy);
    x.mutable_grad().reset();
    kernel.mutable_grad().reset();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

void BatchNormStep(benchmark::State& state, const Shape& shape, at::ScalarType type, bool own) {
  at::Tensor x = Random(shape, type).requires_grad_(true);
  BatchNormVariables variables;
  variables.gamma = torch::ones({shape.channels}).requires_grad_(true);
  variables.beta = torch::zeros({shape.channels}).requires_grad_(true);
  variables.moving_mean = torch::zeros({shape.channels});
  variables.moving_variance = torch::ones({shape.channels});
  at::Tensor dy;
  for (auto _ : state) {
    const at::Tensor y =
        own ? kernels::BatchNormTraining(x, variables, Activation::kRelu)
            : at::relu(at::batch_norm(x, variables.gamma, variables.beta, variables.moving_mean,
                                      variables.moving_variance, /*training=*/true, 0.01, 1e-3,
                                      /*cudnn_enabled=*/false));
    if (!dy.defined()) dy = torch::ones_like(y);
    y.backward(dy);
    x.mutable_grad().reset();
    variables.gamma.mutable_grad().reset();
    variables.beta.mutable_grad().reset();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <typename Step, size_t n>
void Register(const char* kernel, const Shape (&shapes)[n], Step step) {
  for (const Shape& shape : shapes) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const bool own : {true, false}) {
        const std::string name =
            absl::StrCat(kernel, "/", shape.where, "/", type == at::kFloat ? "float32" : "bfloat16",
                         "/", own ? "atelier" : "libtorch");
        benchmark::RegisterBenchmark(
            name.c_str(), [=, &shape](benchmark::State& state) { step(state, shape, type, own); })
            ->MinWarmUpTime(0.05)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace
}  // namespace atelier::nn

int main(int argc, char** argv) {
  using namespace atelier::nn;  // NOLINT(google-build-using-namespace): of this function alone
  EnsureCalmOpenMp(argv);
  SetThreads(0);
  InstallCachingAllocator();
  Register("depthwise", kDepthwise, DepthwiseStep);
  Register("batch norm + relu", kBatchNorm, BatchNormStep);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
