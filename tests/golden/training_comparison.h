// How far a training here is from Keras' (issue 6, "Sameness, proved"), and the bounds.
#pragma once

#include <string>
#include <vector>

#include "tests/golden/training_run.h"

namespace atelier::nn::testing {

// In float64, where rounding hides nothing.
constexpr double kGradientTolerance = 1e-6;    // relative L2 of every tensor
constexpr double kChangeTolerance = 1e-4;      // relative L2 of every tensor after ten steps
constexpr double kLossTolerance = 1e-6;        // relative
constexpr double kStatisticsTolerance = 1e-6;  // relative L2 of every tensor's change
// In float32 Keras is itself far from its float64: by the farthest of three trainings that begin
// their batches with another picture.
constexpr double kFloat32Allowance = 2;  // times that

// Of each tensor whether its gradient is so much smaller than the largest one that it holds
// rounding alone: as that of a shift before a batch norm, which takes it away again.
std::vector<bool> Negligible(const std::vector<TensorSketch>& gradients);

struct Worst {
  double value = 0;
  std::string name = "none";
};

// The tensor that is farthest from Keras', relative to Keras' own norm.
Worst WorstTensor(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras,
                  const std::vector<bool>& skipped = {});

// Relative, the farthest step.
double WorstLoss(const std::vector<double>& ours, const std::vector<double>& keras);

struct Distances {
  double loss = 0;
  Worst gradient, change, statistics;
};
// Without negligible gradients and their changes.
Distances DistancesOf(const TrainingNumbers& ours, const TrainingNumbers& keras);

// Of all tensors together, as distance() of make_training_reference.py.
double Together(const std::vector<TensorSketch>& ours, const std::vector<TensorSketch>& keras);

}  // namespace atelier::nn::testing
