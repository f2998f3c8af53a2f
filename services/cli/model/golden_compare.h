// Comparing a backbone's answers with another implementation's: pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/inspector.h"

namespace atelier::cli {

// Float32 against float32 of other kernels: pooled features relative to the largest, probabilities
// absolute (Keras in float64 is within 2.5e-5 of both).
inline constexpr double kGapTolerance = 2e-4;
inline constexpr double kProbsTolerance = 1e-4;

struct GoldenRow {
  std::string layer;       // "gap", "probs"
  std::string preprocess;  // "auto", "notebook"
  double difference = 0;   // NaN anywhere counts as infinitely far
  double allowed = 0;
  bool agrees() const { return difference <= allowed; }
};

// FailedPrecondition when the shapes differ.
absl::StatusOr<GoldenRow> CompareGolden(const std::string& layer, const nn::FloatArray& ours,
                                        const nn::FloatArray& expected);

struct LayerDifference {
  std::string layer;
  double mean = 0, deviation = 0, expected_mean = 0, expected_deviation = 0;
};

// `layers_json`: {"layers": {NAME: [mean, deviation], …}} in Keras' order. Names are matched
// without Keras' counters ("add_12" is the n-th "add"), as these depend on the session; layers that
// only one side has are passed over. InvalidArgument: no such document.
absl::StatusOr<std::optional<LayerDifference>> FirstDifferentLayer(
    const std::vector<nn::LayerStatistics>& ours, const std::string& layers_json);

}  // namespace atelier::cli
