#include "common/ensemble/metrics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace atelier::ensemble {
namespace {

constexpr double kClip = 1e-7;
constexpr double kZ95 = 1.959963984540054;

}  // namespace

absl::StatusOr<Metrics> Score(const Probabilities& probabilities, std::span<const int> labels) {
  const int classes = probabilities.columns;
  if (static_cast<size_t>(probabilities.rows) != labels.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(probabilities.rows, " predictions but ", labels.size(), " labels"));
  }
  Metrics metrics;
  metrics.images = probabilities.rows;
  const bool with_confusion = classes <= kMaxConfusionClasses;
  if (with_confusion) metrics.confusion.assign(static_cast<size_t>(classes) * classes, 0);
  int correct = 0;
  double loss = 0;
  for (int i = 0; i < probabilities.rows; ++i) {
    const int label = labels[static_cast<size_t>(i)];
    if (label < 0 || label >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("label ", label, " of row ", i, " is not one of ", classes, " classes"));
    }
    const auto row = probabilities.row(i);
    const int predicted = ArgMax(row);
    if (with_confusion) ++metrics.confusion[static_cast<size_t>(label) * classes + predicted];
    correct += predicted == label ? 1 : 0;
    const double p = row[static_cast<size_t>(label)];
    loss -= std::log(std::clamp(p, kClip, 1.0 - kClip));
  }
  if (metrics.images > 0) {
    metrics.accuracy = static_cast<double>(correct) / metrics.images;
    metrics.log_loss = loss / metrics.images;
  }
  metrics.accuracy_interval = WilsonInterval(correct, metrics.images);
  return metrics;
}

Interval WilsonInterval(int successes, int n) {
  if (n <= 0) return {0.0, 1.0};
  const double p = static_cast<double>(successes) / n;
  const double z2 = kZ95 * kZ95;
  const double denominator = 1.0 + z2 / n;
  const double centre = (p + z2 / (2.0 * n)) / denominator;
  const double half = kZ95 * std::sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n)) / denominator;
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace atelier::ensemble
