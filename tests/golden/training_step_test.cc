// Training against Keras 3 where only seconds are to spend: Xception's first step and the loss
// after it, in float64, and that faults are seen. All six backbones, ten steps:
// training_parity_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

#include "tests/golden/pattern_weights.h"
#include "tests/golden/training_comparison.h"

namespace atelier::nn::testing {
namespace {

constexpr char kBackbone[] = "xception";

struct StepDistances {
  double first_loss, second_loss, gradient;
};

StepDistances DistancesAfterOneStep(Updater updater) {
  const nlohmann::json reference = ReadGoldenJson(std::string(kBackbone) + "_training.json");
  const TrainingNumbers keras = KerasNumbers(kBackbone, reference, Variant::kPlain);
  const TrainingNumbers ours = Train(kBackbone, reference, {.updater = updater, .steps = 2});
  const Worst gradient = WorstTensor(ours.gradients, keras.gradients, Negligible(keras.gradients));
  const StepDistances distances = {WorstLoss({ours.losses[0]}, {keras.losses[0]}),
                                   WorstLoss({ours.losses[1]}, {keras.losses[1]}), gradient.value};
  std::cout << "losses " << distances.first_loss << ", " << distances.second_loss << "; gradient "
            << distances.gradient << " (" << gradient.name << ")\n";
  return distances;
}

TEST(TrainingStepTest, GradientsAndLossesEqualKeras) {
  const StepDistances distances = DistancesAfterOneStep(Updater::kAdam);
  EXPECT_LE(distances.first_loss, kLossTolerance);
  EXPECT_LE(distances.gradient, kGradientTolerance);
  EXPECT_LE(distances.second_loss, kLossTolerance);
}

TEST(TrainingStepTest, AnIdleOptimizerIsSeen) {
  const StepDistances distances = DistancesAfterOneStep(Updater::kNone);
  EXPECT_GT(distances.gradient, kGradientTolerance);
  EXPECT_GT(distances.second_loss, kLossTolerance);
}

TEST(TrainingStepTest, TorchsPlaceForEpsilonIsSeen) {
  EXPECT_GT(DistancesAfterOneStep(Updater::kEpsilonAsTorch).second_loss, kLossTolerance);
}

}  // namespace
}  // namespace atelier::nn::testing
