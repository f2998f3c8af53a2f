// Ten training steps of a backbone on the fixed batches of make_training_reference.py, and the
// numbers they are compared by. Torch header.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/nn/graph.h"
#include "nlohmann/json.hpp"

namespace atelier::nn::testing {

constexpr int64_t kBuckets = 4;

// Four sums that together see every number of a tensor, which comes in Keras' order: number e is
// added to or taken from bucket h >> 30, h = e * 2654435761 mod 2^32 (a count sketch: the norm of a
// difference of sketches is on average that of the difference).
using Sketch = std::array<double, kBuckets>;
Sketch SketchOf(const at::Tensor& in_keras_order);

struct TensorSketch {
  std::string name;
  Sketch sketch;
};

// As the script's "plain" and "weighted".
enum class Variant { kPlain, kWeighted };
// Who updates the parameters: Atelier's optimizer, or faults that a comparison must see.
enum class Updater {
  kAdam,
  kNone,            // moments stay zero too
  kEpsilonAsTorch,  // torch::optim::Adam's place for epsilon
};

struct TrainingNumbers {
  std::vector<double> losses;            // before each step, with the L2 penalty
  std::vector<TensorSketch> gradients;   // of the first step, Adam's m / (1 - beta1)
  std::vector<TensorSketch> changes;     // of each trained tensor over all steps
  std::vector<TensorSketch> statistics;  // changes of the moving means and variances
};

struct TrainOptions {
  at::ScalarType type = at::kDouble;
  Variant variant = Variant::kPlain;
  Updater updater = Updater::kAdam;
  int64_t steps = 0;  // 0: as many as Keras
};
// `reference`: data/NAME_training.json. Dropout and stochastic depth are off.
TrainingNumbers Train(const std::string& backbone, const nlohmann::json& reference,
                      const TrainOptions& options);

// Keras' numbers of the committed files.
TrainingNumbers KerasNumbers(const std::string& backbone, const nlohmann::json& reference,
                             Variant variant);

}  // namespace atelier::nn::testing
