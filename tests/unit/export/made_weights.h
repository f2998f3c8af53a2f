// Weights of any backbone by formula: every variable different, no file needed.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "common/nn/graph.h"
#include "common/nn/safetensors.h"

namespace atelier::exporting {

struct HeadUnits {
  int64_t hidden = 0;
  int64_t classes = 0;  // 0: no head
};

// Values in (-1, 1); gamma and variances in (0.5, 1.5).
inline std::vector<float> MadeValues(size_t variable, size_t count, bool positive) {
  std::vector<float> values(count);
  auto state = static_cast<uint32_t>(variable) * 2654435761U + 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    const float u = static_cast<float>(state >> 8) / static_cast<float>(1U << 24);
    value = positive ? 0.5F + u : 2 * u - 1;
  }
  return values;
}

inline bool IsPositive(const nn::Variable& v) {
  return v.kind == nn::VariableKind::kGamma || v.kind == nn::VariableKind::kMovingVariance ||
         v.kind == nn::VariableKind::kVariance;
}

inline std::map<std::string, std::vector<float>> MadeTensors(
    const nn::Graph& graph, HeadUnits head, std::map<std::string, std::vector<int64_t>>* shapes) {
  std::map<std::string, std::vector<float>> tensors;
  const auto put = [&](const std::string& name, const std::vector<int64_t>& shape, bool positive) {
    size_t count = 1;
    for (const int64_t n : shape) count *= static_cast<size_t>(n);
    tensors[name] = MadeValues(tensors.size(), count, positive);
    (*shapes)[name] = shape;
  };
  for (const nn::Variable& v : graph.variables) {
    put("backbone/" + v.name, v.shape, IsPositive(v));
    if (v.kind == nn::VariableKind::kCount) tensors["backbone/" + v.name] = {7};
  }
  int64_t width = graph.features();
  const auto dense = [&](const std::string& layer, int64_t units) {
    put("head/" + layer + "/kernel", {units, width}, false);
    put("head/" + layer + "/bias", {units}, false);
    width = units;
  };
  if (head.classes > 0 && head.hidden > 0) dense("dense", head.hidden);
  if (head.classes > 0) dense("predictions", head.classes);
  return tensors;
}

inline std::string MadeSafetensors(const std::map<std::string, std::vector<float>>& tensors,
                                   const std::map<std::string, std::vector<int64_t>>& shapes,
                                   const std::string& backbone) {
  std::map<std::string, nn::TensorView> views;
  for (const auto& [name, values] : tensors) {
    views[name] = {nn::DType::kF32,
                   shapes.at(name),
                   {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}};
  }
  return nn::SerializeSafetensors(views, {{"backbone", backbone}});
}

inline std::string MadeWeights(const std::string& backbone, HeadUnits head, int channels = 3) {
  std::map<std::string, std::vector<int64_t>> shapes;
  const auto tensors = MadeTensors(*nn::BuildBackboneGraph(backbone, channels), head, &shapes);
  return MadeSafetensors(tensors, shapes, backbone);
}

}  // namespace atelier::exporting
