// Scores of probabilities against labels. Pure functions; thread-safe.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ensemble/combine.h"

namespace atelier::ensemble {

// The matrix has the square of the classes: of more it would outgrow a message (GetRun) and then a
// row of the coordinator's database, and nobody reads it.
inline constexpr int kMaxConfusionClasses = 1000;

struct Interval {
  double low = 0;
  double high = 0;
};

struct Metrics {
  int images = 0;
  double accuracy = 0;  // 0..1
  double log_loss = 0;  // natural log; probabilities clipped to [1e-7, 1 - 1e-7] as Keras does
  Interval accuracy_interval;  // 95 % Wilson
  // [columns, columns] row-major, rows are the truth; empty above kMaxConfusionClasses columns.
  std::vector<int> confusion;
};

// `labels`: class ids, one a row. InvalidArgument on a wrong count or a label out of range. No
// image at all gives zeros.
absl::StatusOr<Metrics> Score(const Probabilities& probabilities, std::span<const int> labels);

// The 95 % score interval of Wilson (1927, "Probable inference"), z = 1.959964. {0, 1} for n = 0.
Interval WilsonInterval(int successes, int n);

}  // namespace atelier::ensemble
