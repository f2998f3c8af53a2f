// Every kernel of every instruction set this CPU has, against LibTorch in float64.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <array>
#include <thread>

#include "common/nn/kernels/pointwise.h"
#include "common/nn/kernels/simd_kernels.h"
#include "common/nn/layers.h"

namespace atelier::nn {
namespace {

using kernels::KernelTable;
using kernels::WindowShape;

std::vector<const KernelTable*> Tables() {
  std::vector<const KernelTable*> out;
  for (const KernelTable* const* t = kernels::AllSimdKernels(); *t != nullptr; ++t)
    out.push_back(*t);
  return out;
}

at::Tensor Random(at::IntArrayRef shape, int64_t seed, at::ScalarType type) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
  // Rounded to bf16 already, so that both storages hold the same numbers.
  return at::randn(shape, generator).to(at::kBFloat16).to(type);
}
at::Tensor ChannelsLast(const at::Tensor& x) {
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

// Largest difference relative to the largest expected value.
double Difference(const at::Tensor& ours, const at::Tensor& expected) {
  return ((ours.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}
double Tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-5 : 8e-3; }

struct WindowCase {
  int64_t k, stride, h, w, c;
  Padding padding;
};
constexpr WindowCase kDepthwise[] = {
    {3, 1, 10, 10, 728, Padding::kSame}, {3, 1, 19, 21, 64, Padding::kSame},
    {3, 2, 16, 17, 96, Padding::kSame},  {5, 1, 5, 5, 40, Padding::kSame},
    {5, 2, 13, 14, 144, Padding::kSame}, {3, 1, 9, 12, 16, Padding::kValid},
    {5, 1, 20, 23, 17, Padding::kSame},  {3, 2, 1, 1, 32, Padding::kSame},
};

struct DepthwiseReference {
  at::Tensor y, dx, dk;
};
DepthwiseReference Reference(const WindowCase& test, const at::Tensor& x, const at::Tensor& kernel,
                             const at::Tensor& dy, const AxisPadding& ph, const AxisPadding& pw) {
  const at::Tensor xd = x.to(at::kDouble).contiguous().requires_grad_();
  const at::Tensor kd = kernel.to(at::kDouble).requires_grad_();
  const at::Tensor padded = at::constant_pad_nd(xd, {pw.before, pw.after, ph.before, ph.after}, 0);
  const at::Tensor y =
      at::conv2d(padded, kd, at::Tensor(), test.stride, at::IntArrayRef{0}, 1, test.c);
  y.backward(dy.to(at::kDouble).contiguous());
  return {y.detach(), xd.grad(), kd.grad()};
}

TEST(KernelsTest, DepthwiseForwardAndBackwardEqualFloat64) {
  for (const WindowCase& test : kDepthwise) {
    const AxisPadding ph = PaddingOf(test.h, test.k, test.stride, test.padding);
    const AxisPadding pw = PaddingOf(test.w, test.k, test.stride, test.padding);
    const WindowShape s{2,
                        test.h,
                        test.w,
                        test.c,
                        (test.h + ph.before + ph.after - test.k) / test.stride + 1,
                        (test.w + pw.before + pw.after - test.k) / test.stride + 1,
                        test.k,
                        test.stride,
                        ph.before,
                        pw.before};
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = ChannelsLast(Random({2, test.c, test.h, test.w}, 1, type));
      const at::Tensor dy = ChannelsLast(Random({2, test.c, s.oh, s.ow}, 2, type));
      const at::Tensor kernel = Random({test.c, 1, test.k, test.k}, 3, at::kFloat);
      const at::Tensor packed = kernel.reshape({test.c, -1}).t().contiguous();
      const DepthwiseReference expected = Reference(test, x, kernel, dy, ph, pw);
      const bool bf16 = type == at::kBFloat16;
      for (const KernelTable* table : Tables()) {
        SCOPED_TRACE(testing::Message() << table->isa << " k" << test.k << " s" << test.stride
                                        << " c" << test.c << " bf16 " << bf16);
        at::Tensor y = at::zeros_like(dy);
        table->depthwise_forward(s, bf16, x.data_ptr(), packed.data_ptr<float>(), nullptr,
                                 y.data_ptr(), 0, 2 * s.oh);
        EXPECT_LE(Difference(y, expected.y), Tolerance(type));
        at::Tensor dx = at::zeros_like(x);
        table->depthwise_backward_input(s, bf16, dy.data_ptr(), packed.data_ptr<float>(),
                                        dx.data_ptr(), 0, 2 * s.h);
        EXPECT_LE(Difference(dx, expected.dx), Tolerance(type));
        at::Tensor dk = at::zeros({test.k * test.k, test.c});
        table->depthwise_backward_weights(s, bf16, x.data_ptr(), dy.data_ptr(),
                                          dk.data_ptr<float>(), 0, 2 * s.oh);
        EXPECT_LE(Difference(dk.t().reshape(kernel.sizes()), expected.dk), 1e-5);
      }
    }
  }
}

constexpr WindowCase kPools[] = {
    {3, 2, 16, 17, 96, Padding::kSame}, {3, 2, 9, 9, 17, Padding::kSame},
    {3, 2, 13, 13, 64, Padding::kHalf}, {3, 1, 7, 8, 40, Padding::kSame},
    {2, 2, 8, 9, 33, Padding::kValid},  {5, 1, 6, 6, 16, Padding::kSame},
};

TEST(KernelsTest, MaxPoolForwardAndBackwardEqualFloat64) {
  for (const WindowCase& test : kPools) {
    const AxisPadding ph = PaddingOf(test.h, test.k, test.stride, test.padding);
    const AxisPadding pw = PaddingOf(test.w, test.k, test.stride, test.padding);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      // Rounded so much that windows have equal values: the first of them gets the gradient.
      const at::Tensor x =
          ChannelsLast((Random({2, test.c, test.h, test.w}, 9, at::kFloat) * 4).round().to(type));
      const at::Tensor xd = x.to(at::kDouble).contiguous().requires_grad_();
      const at::Tensor expected = at::max_pool2d(
          at::constant_pad_nd(xd, {pw.before, pw.after, ph.before, ph.after}, -INFINITY), test.k,
          test.stride);
      const at::Tensor dy = ChannelsLast(Random(expected.sizes(), 10, type));
      expected.backward(dy.to(at::kDouble).contiguous());
      WindowShape s{2,      test.h,      test.w,    test.c,   expected.size(2), expected.size(3),
                    test.k, test.stride, ph.before, pw.before};
      const bool bf16 = type == at::kBFloat16;
      for (const KernelTable* table : Tables()) {
        SCOPED_TRACE(testing::Message() << table->isa << " k" << test.k << " s" << test.stride
                                        << " c" << test.c << " bf16 " << bf16);
        at::Tensor y = at::zeros_like(dy);
        at::Tensor which = at::zeros_like(dy, at::kByte);
        table->max_pool_forward(s, bf16, x.data_ptr(), y.data_ptr(), which.data_ptr<uint8_t>(), 0,
                                2 * s.oh);
        EXPECT_TRUE(at::equal(y.to(at::kDouble), expected));
        at::Tensor dx = at::zeros_like(x);
        table->max_pool_backward(s, bf16, dy.data_ptr(), which.data_ptr<uint8_t>(), dx.data_ptr(),
                                 0, 2 * s.h);
        EXPECT_LE(Difference(dx, xd.grad()), Tolerance(type));
      }
    }
  }
}

TEST(KernelsTest, PointwiseGradientsEqualFloat64) {
  for (const int64_t stride : {1, 2}) {
    SCOPED_TRACE(stride);
    at::Tensor x = ChannelsLast(Random({2, 72, 9, 11}, 6, at::kBFloat16)).requires_grad_();
    at::Tensor kernel = Random({80, 72, 1, 1}, 7, at::kFloat).requires_grad_();
    if (!kernels::SupportsPointwise(x, kernel)) GTEST_SKIP() << "no AVX-512: it is never used";
    const at::Tensor xd = x.detach().to(at::kDouble).contiguous().requires_grad_();
    const at::Tensor kd = kernel.detach().to(at::kDouble).requires_grad_();
    const at::Tensor y = kernels::Pointwise(x, kernel, stride);
    const at::Tensor expected = at::conv2d(xd, kd, at::Tensor(), stride);
    const at::Tensor dy = Random(expected.sizes(), 8, at::kBFloat16);
    y.backward(dy);
    expected.backward(dy.to(at::kDouble));
    EXPECT_LE(Difference(y.detach(), expected.detach()), 8e-3);
    EXPECT_LE(Difference(x.grad(), xd.grad()), 8e-3);
    EXPECT_LE(Difference(kernel.grad(), kd.grad()), 8e-3);
    EXPECT_EQ(kernel.grad().scalar_type(), at::kFloat);
  }
}

// at::parallel_for runs on one thread, silently, in code that was compiled without OpenMP.
TEST(KernelsTest, LoopsRunOnAllThreads) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer does not see libgomp's barriers";
#endif
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::array<std::thread::id, 2> ran;
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ran[static_cast<size_t>(i)] = std::this_thread::get_id();
  });
  at::set_num_threads(before);
  EXPECT_NE(ran[0], ran[1]);
}

TEST(KernelsTest, MomentsSurviveALargeMean) {
  for (const KernelTable* table : Tables()) {
    for (const int64_t c : {16, 24, 37}) {
      const at::Tensor x = Random({100, c}, 4, at::kFloat) + 1000;
      at::Tensor mean = at::empty({c});
      at::Tensor m2 = at::empty({c});
      table->moments(false, x.data_ptr(), 100, c, mean.data_ptr<float>(), m2.data_ptr<float>());
      const at::Tensor xd = x.to(at::kDouble);
      EXPECT_LE(Difference(mean, xd.mean(0)), 1e-6) << table->isa;
      EXPECT_LE(Difference(m2 / 100, xd.var(0, /*unbiased=*/false)), 1e-4) << table->isa;
    }
  }
}

TEST(KernelsTest, RoundToBfloat16LikeLibTorch) {
  const at::Tensor x = Random({64, 32}, 5, at::kFloat) * 1.2345;
  const at::Tensor ones = at::ones({32});
  const at::Tensor zeros = at::zeros({32});
  const at::Tensor input = x.to(at::kBFloat16);
  const at::Tensor scale = ones * 1.7;
  const at::Tensor expected = (input.to(at::kFloat) * scale).to(at::kBFloat16);
  for (const KernelTable* table : Tables()) {
    at::Tensor y = at::empty_like(input);
    table->scale_shift(true, input.data_ptr(), scale.data_ptr<float>(), zeros.data_ptr<float>(),
                       {-INFINITY, INFINITY}, 64, 32, y.data_ptr());
    EXPECT_TRUE(at::equal(y, expected)) << table->isa;
  }
}

}  // namespace
}  // namespace atelier::nn
