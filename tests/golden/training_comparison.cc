#include "tests/golden/training_comparison.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace atelier::nn::testing {
namespace {

constexpr double kNegligible = 1e-9;

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

template <typename T>
void RequireEqualSizes(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) {
    throw std::runtime_error(std::to_string(a.size()) + " of ours, " + std::to_string(b.size()) +
                             " of Keras'");
  }
}

}  // namespace

std::vector<bool> Negligible(const std::vector<TensorSketch>& gradients) {
  double largest = 0;
  for (const TensorSketch& g : gradients) largest = std::max(largest, Norm(g.sketch));
  std::vector<bool> out;
  for (const TensorSketch& g : gradients) out.push_back(Norm(g.sketch) < kNegligible * largest);
  return out;
}

Worst WorstTensor(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras,
                  const std::vector<bool>& skipped) {
  RequireEqualSizes(ours, keras);
  Worst worst;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (!skipped.empty() && skipped[i]) continue;
    const double distance = Distance(ours[i].sketch, keras[i].sketch) / Norm(keras[i].sketch);
    if (std::isnan(distance)) return {distance, ours[i].name};
    if (distance > worst.value) worst = {distance, ours[i].name};
  }
  return worst;
}

double WorstLoss(const std::vector<double>& ours, const std::vector<double>& keras) {
  RequireEqualSizes(ours, keras);
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double distance = std::abs(ours[i] - keras[i]) / keras[i];
    if (std::isnan(distance)) return distance;
    worst = std::max(worst, distance);
  }
  return worst;
}

Distances DistancesOf(const TrainingNumbers& ours, const TrainingNumbers& keras) {
  const std::vector<bool> negligible = Negligible(keras.gradients);
  return {.loss = WorstLoss(ours.losses, keras.losses),
          .gradient = WorstTensor(ours.gradients, keras.gradients, negligible),
          .change = WorstTensor(ours.changes, keras.changes, negligible),
          .statistics = WorstTensor(ours.statistics, keras.statistics)};
}

double Together(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras) {
  RequireEqualSizes(ours, keras);
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    difference += std::pow(Distance(ours[i].sketch, keras[i].sketch), 2);
    norm += std::pow(Norm(keras[i].sketch), 2);
  }
  return std::sqrt(difference / norm);
}

}  // namespace atelier::nn::testing
