// Training against Keras 3 (issue 6, "Sameness, proved"): one step and ten, from the same weights
// on the same batches; in float64, and in float32 by how far Keras itself is there from its
// float64. References: make_training_reference.py. Prints the table of README's section on
// exactness.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/golden/pattern_weights.h"
#include "tests/golden/training_comparison.h"

namespace atelier::nn::testing {
namespace {

struct Case {
  std::string backbone;
  Variant variant;
  friend bool operator<(const Case& a, const Case& b) {
    return std::tie(a.backbone, a.variant) < std::tie(b.backbone, b.variant);
  }
};

std::string NameOf(const Case& test) {
  return test.backbone + (test.variant == Variant::kPlain ? "_plain" : "_weighted");
}
void PrintTo(const Case& test, std::ostream* out) { *out << NameOf(test); }

// Ours by Keras' own, float32 from Keras' float64.
struct Float32Ratios {
  double loss = 0, gradients = 0, changes = 0, statistics = 0;
};
struct Row {  // what has run
  std::optional<Distances> float64;
  std::optional<Float32Ratios> float32;
};

class Table : public ::testing::Environment {
 public:
  static Row& At(const Case& test) { return rows()[test]; }

  void TearDown() override {
    if (rows().empty()) return;
    std::cout
        << "| member | labels | gradients | ten steps | loss | BN statistics | float32 by "
           "Keras' own: gradients, ten steps, loss, statistics |\n|---|---|---|---|---|---|---|\n";
    for (const auto& [test, row] : rows()) {
      const auto& wide = row.float64;
      const auto& narrow = row.float32;
      std::cout << "| " << test.backbone << " | "
                << (test.variant == Variant::kPlain ? "plain" : "weighted") << " | "
                << (wide ? absl::StrFormat("%.1g | %.1g | %.1g | %.1g", wide->gradient.value,
                                           wide->change.value, wide->loss, wide->statistics.value)
                         : "- | - | - | -")
                << " | "
                << (narrow ? absl::StrFormat("%.2f, %.2f, %.2f, %.2f", narrow->gradients,
                                             narrow->changes, narrow->loss, narrow->statistics)
                           : "-")
                << " |\n";
    }
  }

 private:
  static std::map<Case, Row>& rows() {
    static auto* const all = new std::map<Case, Row>();
    return *all;
  }
};
const auto* const kTable = ::testing::AddGlobalTestEnvironment(new Table);

void Print(const std::string& what, const Distances& d) {
  std::cout << absl::StrFormat(
      "%s: loss %.2g, gradient %.2g (%s), change %.2g (%s), statistics "
      "%.2g (%s)\n",
      what, d.loss, d.gradient.value, d.gradient.name, d.change.value, d.change.name,
      d.statistics.value, d.statistics.name);
}

class TrainingParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    reference_ = ReadGoldenJson(GetParam().backbone + "_training.json");
    keras_ = KerasNumbers(GetParam().backbone, reference_, GetParam().variant);
  }
  TrainingNumbers TrainHere(at::ScalarType type, Updater updater = Updater::kAdam) {
    return Train(GetParam().backbone, reference_,
                 {.type = type, .variant = GetParam().variant, .updater = updater});
  }
  nlohmann::json reference_;
  TrainingNumbers keras_;
};

TEST_P(TrainingParityTest, InFloat64EqualsKerasAfterOneStepAndTen) {
  const TrainingNumbers ours = TrainHere(at::kDouble);
  const Distances distances = DistancesOf(ours, keras_);
  EXPECT_LE(distances.loss, kLossTolerance);
  EXPECT_LE(distances.gradient.value, kGradientTolerance) << distances.gradient.name;
  EXPECT_LE(distances.change.value, kChangeTolerance) << distances.change.name;
  EXPECT_LE(distances.statistics.value, kStatisticsTolerance) << distances.statistics.name;
  // Which are left out: shifts alone, and the same ones as in Keras.
  const std::vector<bool> negligible = Negligible(keras_.gradients);
  EXPECT_EQ(Negligible(ours.gradients), negligible);
  for (size_t i = 0; i < negligible.size(); ++i) {
    const std::string& name = ours.gradients[i].name;
    EXPECT_TRUE(!negligible[i] || name.ends_with("/beta") || name.ends_with("/bias")) << name;
  }
  const auto skipped = std::count(negligible.begin(), negligible.end(), true);
  EXPECT_LE(skipped, static_cast<int64_t>(negligible.size() / 10));
  Print(absl::StrCat(NameOf(GetParam()), " float64 without ", skipped, " of ", negligible.size()),
        distances);
  Table::At(GetParam()).float64 = distances;
}

TEST_P(TrainingParityTest, InFloat32IsAtMostTwiceAsFarAsKerasFloat32) {
  const TrainingNumbers ours = TrainHere(at::kFloat);
  const nlohmann::json& theirs =
      reference_.at(GetParam().variant == Variant::kPlain ? "plain" : "weighted")
          .at("keras_float32");
  const auto ratio = [&](const char* what, double distance) {
    const auto allowed = kFloat32Allowance * theirs.at(what).get<double>();
    EXPECT_LE(distance, allowed) << what;
    std::cout << absl::StrFormat("%s float32 %s: %.2g, Keras %.2g\n", NameOf(GetParam()), what,
                                 distance, allowed / kFloat32Allowance);
    return distance / allowed * kFloat32Allowance;
  };
  Table::At(GetParam()).float32 = Float32Ratios{
      .loss = ratio("loss", WorstLoss(ours.losses, keras_.losses)),
      .gradients = ratio("gradients", Together(ours.gradients, keras_.gradients)),
      .changes = ratio("changes", Together(ours.changes, keras_.changes)),
      .statistics = ratio("statistics", Together(ours.statistics, keras_.statistics))};
}

// Every check sees the faults it is there for.
class TrainingFaultTest : public TrainingParityTest {};

TEST_P(TrainingFaultTest, AnIdleOptimizerIsSeen) {
  const Distances distances = DistancesOf(TrainHere(at::kDouble, Updater::kNone), keras_);
  EXPECT_GT(distances.loss, kLossTolerance);
  EXPECT_GT(distances.gradient.value, kGradientTolerance);
  EXPECT_GT(distances.change.value, kChangeTolerance);
  EXPECT_GT(distances.statistics.value, kStatisticsTolerance);
  Print(NameOf(GetParam()) + " idle", distances);
}

// The gradients are those before the first update: they cannot tell.
TEST_P(TrainingFaultTest, TorchsPlaceForEpsilonIsSeen) {
  const Distances distances = DistancesOf(TrainHere(at::kDouble, Updater::kEpsilonAsTorch), keras_);
  EXPECT_GT(distances.loss, kLossTolerance);
  EXPECT_GT(distances.change.value, kChangeTolerance);
  EXPECT_GT(distances.statistics.value, kStatisticsTolerance);
  Print(NameOf(GetParam()) + " torch's epsilon", distances);
}

std::vector<Case> Cases(std::initializer_list<Variant> variants) {
  std::vector<Case> cases;
  for (const char* backbone : {"xception", "inception_v3", "inception_resnet_v2", "densenet201",
                               "efficientnet_b4", "efficientnet_b5"}) {
    for (const Variant variant : variants) cases.push_back({backbone, variant});
  }
  return cases;
}
const auto kNameOfCase = [](const auto& instance) { return NameOf(instance.param); };

// "weighted" has L2, class weights and soft labels on top.
INSTANTIATE_TEST_SUITE_P(All, TrainingParityTest,
                         ::testing::ValuesIn(Cases({Variant::kPlain, Variant::kWeighted})),
                         kNameOfCase);
INSTANTIATE_TEST_SUITE_P(All, TrainingFaultTest, ::testing::ValuesIn(Cases({Variant::kPlain})),
                         kNameOfCase);

}  // namespace
}  // namespace atelier::nn::testing
