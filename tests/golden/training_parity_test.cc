// Training against Keras 3 (issue 6, "Sameness"): one step and ten, from the same weights on the
// same batches. In float64, where rounding hides nothing; in float32, where Keras itself is far
// from its float64, by how far Atelier is. References: make_training_reference.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "tests/golden/pattern_weights.h"
#include "tests/golden/training_run.h"

namespace atelier::nn::testing {
namespace {

constexpr double kGradientTolerance = 1e-6;    // relative L2 of every tensor
constexpr double kChangeTolerance = 1e-4;      // relative L2 of every tensor after ten steps
constexpr double kLossTolerance = 1e-6;        // relative
constexpr double kStatisticsTolerance = 1e-6;  // relative L2 of every tensor's change
// A tensor whose gradient is this much smaller than the largest one holds rounding alone: so does a
// shift before a batch norm, which takes it away again.
constexpr double kNegligible = 1e-9;
constexpr double kFloat32Allowance = 2;  // times what Keras' float32 is away from its float64

double Norm(const Sketch& a) {
  double sum = 0;
  for (const double x : a) sum += x * x;
  return std::sqrt(sum);
}
double Distance(const Sketch& a, const Sketch& b) {
  Sketch difference;
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return Norm(difference);
}

std::vector<bool> Negligible(const std::vector<TensorSketch>& gradients) {
  double largest = 0;
  for (const TensorSketch& g : gradients) largest = std::max(largest, Norm(g.sketch));
  std::vector<bool> out;
  for (const TensorSketch& g : gradients) out.push_back(Norm(g.sketch) < kNegligible * largest);
  return out;
}

struct Worst {
  double value = 0;
  std::string name = "none";
};

// The tensor that is farthest from Keras', relative to its own norm.
Worst WorstTensor(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras,
                  const std::vector<bool>& skipped = {}) {
  Worst worst;
  EXPECT_EQ(ours.size(), keras.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    if (!skipped.empty() && skipped[i]) continue;
    const double distance = Distance(ours[i].sketch, keras[i].sketch) / Norm(keras[i].sketch);
    if (!(distance <= worst.value)) worst = {distance, ours[i].name};
  }
  return worst;
}

// Of all tensors together, as distance() of the script.
double Together(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras) {
  double difference = 0;
  double norm = 0;
  EXPECT_EQ(ours.size(), keras.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    difference += std::pow(Distance(ours[i].sketch, keras[i].sketch), 2);
    norm += std::pow(Norm(keras[i].sketch), 2);
  }
  return std::sqrt(difference / norm);
}

double WorstLoss(const std::vector<double>& ours, const std::vector<double>& keras) {
  double worst = 0;
  EXPECT_EQ(ours.size(), keras.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    worst = std::max(worst, std::abs(ours[i] - keras[i]) / keras[i]);
  }
  return worst;
}

struct Case {
  std::string backbone;
  Variant variant;
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.backbone; }

class TrainingParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    reference_ = ReadGoldenJson(GetParam().backbone + "_training.json");
    keras_ = KerasNumbers(GetParam().backbone, reference_, GetParam().variant);
  }
  TrainingNumbers TrainHere(at::ScalarType type, Updater updater = Updater::kAdam) {
    return Train(GetParam().backbone, reference_, type, GetParam().variant, updater);
  }
  nlohmann::json reference_;
  TrainingNumbers keras_;
};

TEST_P(TrainingParityTest, InFloat64EqualsKerasAfterOneStepAndTen) {
  const TrainingNumbers ours = TrainHere(at::kDouble);
  const std::vector<bool> negligible = Negligible(keras_.gradients);
  const double loss = WorstLoss(ours.losses, keras_.losses);
  const Worst gradient = WorstTensor(ours.gradients, keras_.gradients, negligible);
  const Worst change = WorstTensor(ours.changes, keras_.changes, negligible);
  const Worst statistics = WorstTensor(ours.statistics, keras_.statistics);
  EXPECT_LE(loss, kLossTolerance);
  EXPECT_LE(gradient.value, kGradientTolerance) << gradient.name;
  EXPECT_LE(change.value, kChangeTolerance) << change.name;
  EXPECT_LE(statistics.value, kStatisticsTolerance) << statistics.name;
  const auto skipped = std::count(negligible.begin(), negligible.end(), true);
  EXPECT_LE(skipped, static_cast<int64_t>(negligible.size() / 20)) << "negligible gradients";
  std::cout << GetParam().backbone << " float64: loss " << loss << ", gradient " << gradient.value
            << " (" << gradient.name << "), change " << change.value << " (" << change.name
            << "), statistics " << statistics.value << " (" << statistics.name << "), " << skipped
            << " negligible\n";
}

TEST_P(TrainingParityTest, InFloat32IsAtMostTwiceAsFarAsKerasFloat32) {
  const TrainingNumbers ours = TrainHere(at::kFloat);
  const std::map<std::string, double> distances = {
      {"loss", WorstLoss(ours.losses, keras_.losses)},
      {"gradients", Together(ours.gradients, keras_.gradients)},
      {"changes", Together(ours.changes, keras_.changes)},
      {"statistics", Together(ours.statistics, keras_.statistics)}};
  const nlohmann::json& theirs =
      reference_.at(GetParam().variant == Variant::kPlain ? "plain" : "weighted")
          .at("keras_float32");
  for (const auto& [what, distance] : distances) {
    const auto allowed = kFloat32Allowance * theirs.at(what).get<double>();
    EXPECT_LE(distance, allowed) << what;
    std::cout << GetParam().backbone << " float32 " << what << ": " << distance << ", Keras "
              << allowed / kFloat32Allowance << "\n";
  }
}

// The comparison sees the faults it is there for.
class TrainingFaultTest : public TrainingParityTest {};

TEST_P(TrainingFaultTest, AnIdleOptimizerAndTorchsEpsilonAreSeen) {
  const std::vector<bool> negligible = Negligible(keras_.gradients);
  for (const Updater updater : {Updater::kNone, Updater::kEpsilonAsTorch}) {
    const TrainingNumbers ours = TrainHere(at::kDouble, updater);
    EXPECT_LE(WorstTensor(ours.gradients, keras_.gradients, negligible).value, kGradientTolerance);
    const Worst change = WorstTensor(ours.changes, keras_.changes, negligible);
    EXPECT_GT(change.value, 10 * kChangeTolerance);
    std::cout << (updater == Updater::kNone ? "idle" : "torch's epsilon") << ": " << change.value
              << " (" << change.name << ")\n";
  }
}

std::string NameOfCase(const ::testing::TestParamInfo<Case>& instance) {
  return instance.param.backbone +
         (instance.param.variant == Variant::kPlain ? "_plain" : "_weighted");
}

// "weighted" has all that "plain" has. LibTorch goes through a depthwise convolution in float64
// channel by channel, a minute a run: those are for the long label.
INSTANTIATE_TEST_SUITE_P(Short, TrainingParityTest,
                         ::testing::Values(Case{"inception_v3", Variant::kWeighted}), NameOfCase);
INSTANTIATE_TEST_SUITE_P(Long, TrainingParityTest,
                         ::testing::Values(Case{"inception_v3", Variant::kPlain},
                                           Case{"xception", Variant::kPlain},
                                           Case{"xception", Variant::kWeighted}),
                         NameOfCase);
INSTANTIATE_TEST_SUITE_P(Long, TrainingFaultTest,
                         ::testing::Values(Case{"inception_v3", Variant::kPlain}), NameOfCase);

}  // namespace
}  // namespace atelier::nn::testing
