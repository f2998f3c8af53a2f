#include "services/trainer/loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace atelier::trainer {
namespace {

const double kLog2 = std::log(2.0);

TEST(SoftCrossEntropy, OfEqualLogitsIsTheLogOfTheClasses) {
  const at::Tensor logits = torch::zeros({2, 2});
  const at::Tensor labels = torch::tensor({{1.0F, 0.0F}, {0.3F, 0.7F}});
  EXPECT_NEAR(SoftCrossEntropy(logits, labels).item<double>(), kLog2, 1e-6);
}

TEST(SoftCrossEntropy, MixedLabelsMixTheLosses) {
  const at::Tensor logits = torch::tensor({{2.0F, 0.0F}});
  const double log_z = std::log(std::exp(2.0) + 1.0);
  const at::Tensor labels = torch::tensor({{0.25F, 0.75F}});
  EXPECT_NEAR(SoftCrossEntropy(logits, labels).item<double>(), 0.25 * (log_z - 2.0) + 0.75 * log_z,
              1e-6);
}

TEST(SoftCrossEntropy, ClassWeightsAreTheLikeliestClassesAndTheMeanIsOverSamples) {
  LossOptions options;
  options.class_weights = {1.0, 3.0};
  const at::Tensor logits = torch::zeros({2, 2});
  const at::Tensor labels = torch::tensor({{0.9F, 0.1F}, {0.2F, 0.8F}});
  EXPECT_NEAR(SoftCrossEntropy(logits, labels, options).item<double>(), kLog2 * (1 + 3) / 2, 1e-6);
}

TEST(SoftCrossEntropy, SmoothingMovesMassToEveryClass) {
  LossOptions options;
  options.label_smoothing = 0.2;
  const at::Tensor logits = torch::tensor({{2.0F, 0.0F}});
  const at::Tensor labels = torch::tensor({{1.0F, 0.0F}});
  const double log_z = std::log(std::exp(2.0) + 1.0);
  EXPECT_NEAR(SoftCrossEntropy(logits, labels, options).item<double>(),
              0.9 * (log_z - 2.0) + 0.1 * log_z, 1e-6);
}

TEST(CountCorrect, ComparesTheLikeliestClasses) {
  const at::Tensor logits = torch::tensor({{2.0F, 0.0F}, {0.0F, 1.0F}});
  const at::Tensor labels = torch::tensor({{0.6F, 0.4F}, {0.6F, 0.4F}});
  EXPECT_EQ(CountCorrect(logits, labels), 1);
}

}  // namespace
}  // namespace atelier::trainer
