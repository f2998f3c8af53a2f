// Atelier's own weights, held against the graph they belong to: what every exporter starts from.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/catalog.h"
#include "common/nn/graph.h"
#include "common/nn/safetensors.h"

namespace atelier::exporting {

// Units of the dense layers after the pooled features.
struct Head {
  int64_t hidden_units = 0;  // 0: no hidden layer
  int64_t classes = 0;       // 0: no head at all
};

// Complete float32 tensors of one backbone, and perhaps its head. Movable: the views point into
// `bytes`, whose buffer moves along.
struct WeightsFile {
  std::string bytes;
  nn::BackboneInfo backbone;
  nn::Graph graph;
  int channels = 3;
  Head head;
  std::map<std::string, nn::TensorView> tensors;  // "backbone/…", "head/…"; with the head only if
                                                  // it is taken
  std::map<std::string, std::string> metadata;

  const nn::TensorView& Of(const nn::Variable& variable) const {
    return tensors.at("backbone/" + variable.name);
  }
};

struct WeightsFileOptions {
  std::string backbone;  // empty: what the file's metadata say
  bool head = true;      // take a head that is there
};

// InvalidArgument: not safetensors, NaN or Inf, no float32, or no backbone named.
// FailedPrecondition naming the first tensor that is missing, unexpected or of another shape.
absl::StatusOr<WeightsFile> ReadWeights(std::string bytes, const WeightsFileOptions& options);

// y = (x - mean[c]) / divisor[c], x = R, G, B 0..255: what a backbone is fed.
struct Preprocessing {
  std::array<float, 3> mean = {0, 0, 0};
  std::array<float, 3> divisor = {1, 1, 1};
};
// "(x - [127.5, …]) / [127.5, …]".
std::string FormulaOf(const Preprocessing& preprocessing);

// Keras divides by the square roots of kImagenetDeviation after the Normalization of EfficientNets,
// but only for weights it downloads itself; Atelier does when ModelSpec.scaling is AUTO and the
// stored variance is this deviation (nn::ForwardOptions::auto_scaling). True when these weights
// are of that kind.
inline constexpr std::array<float, 3> kImagenetDeviation = {0.229F, 0.224F, 0.225F};
bool DividesOnceMore(const WeightsFile& weights);

// A safetensors file of exactly `weights`' tensors; `metadata` in place of the file's own.
std::string ToSafetensors(const WeightsFile& weights,
                          const std::map<std::string, std::string>& metadata);

}  // namespace atelier::exporting
