#include "services/trainer/adam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

v1::OptimizerSpec Spec() {
  v1::OptimizerSpec spec;
  spec.set_learning_rate(1e-2F);
  return spec;
}

at::Tensor Parameter(double value) {
  return torch::full({3}, value, torch::dtype(torch::kFloat)).set_requires_grad(true);
}

// Keras' formula in double, written out.
struct Reference {
  double p, m = 0, v = 0;
  int t = 0;
  void Step(double g, double lr, double epsilon = 1e-7) {
    ++t;
    m += (g - m) * 0.1;
    v += (g * g - v) * 0.001;
    p -= lr * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t)) * m /
         (std::sqrt(v) + epsilon);
  }
};

TEST(Adam, FollowsKerasFormula) {
  at::Tensor p = Parameter(1.0);
  Adam adam({{"w", p}}, Spec());
  Reference reference{1.0};
  for (const double g : {0.5, -0.25, 3.0}) {
    p.mutable_grad() = torch::full({3}, g);
    adam.Step(1e-2);
    reference.Step(g, 1e-2);
    EXPECT_NEAR(p[1].item<double>(), reference.p, 1e-6);
    EXPECT_FALSE(p.grad().defined()) << "gradients are forgotten";
  }
  EXPECT_EQ(adam.steps(), 3);
}

TEST(Adam, EpsilonStandsWhereKerasHasItAndNotWhereTorchHasIt) {
  // With a gradient of the size of epsilon the two places differ by a factor.
  constexpr double kTiny = 1e-7;
  at::Tensor p = Parameter(0.0);
  Adam adam({{"w", p}}, Spec());
  p.mutable_grad() = torch::full({3}, kTiny);
  adam.Step(1e-2);
  Reference reference{0.0};
  reference.Step(kTiny, 1e-2);
  const double torch_place = -1e-2 * kTiny / (kTiny + 1e-7);
  EXPECT_NEAR(p[0].item<double>(), reference.p, 1e-8);
  EXPECT_GT(std::abs(reference.p - torch_place), 1e-3) << "the test tells the two apart";
}

TEST(Adam, AParameterWithoutGradientStays) {
  at::Tensor p = Parameter(2.0);
  Adam adam({{"w", p}}, Spec());
  adam.Step(1e-2);
  EXPECT_EQ(p[0].item<float>(), 2.0F);
}

TEST(Adam, GoesOnFromItsStateToTheBit) {
  at::Tensor a = Parameter(1.0);
  at::Tensor b = Parameter(1.0);
  Adam first({{"w", a}}, Spec());
  a.mutable_grad() = torch::full({3}, 0.3);
  first.Step(1e-2);
  Adam second({{"w", b}}, Spec());
  ASSERT_THAT(second.Restore(first.State(), first.steps()), testing::IsOk());
  {
    at::NoGradGuard no_grad;
    b.copy_(a);
  }
  a.mutable_grad() = torch::full({3}, -0.7);
  b.mutable_grad() = torch::full({3}, -0.7);
  first.Step(1e-2);
  second.Step(1e-2);
  EXPECT_TRUE(at::equal(a, b));
  EXPECT_THAT(second.Restore({}, 1), testing::StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace atelier::trainer
