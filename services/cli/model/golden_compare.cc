#include "services/cli/model/golden_compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace atelier::cli {
namespace {

constexpr double kLayerTolerance = 1e-3;  // of the layer's deviation

// "conv2d_14" -> "conv2d".
std::string WithoutCounter(const std::string& name) {
  const size_t last = name.find_last_not_of("0123456789");
  if (last == std::string::npos || last + 1 == name.size() || name[last] != '_') return name;
  return name.substr(0, last);
}

}  // namespace

absl::StatusOr<GoldenRow> CompareGolden(const std::string& layer, const nn::FloatArray& ours,
                                        const nn::FloatArray& expected) {
  if (ours.shape != expected.shape) {
    return absl::FailedPreconditionError(
        absl::StrCat("the goldens' ", layer, " is [", absl::StrJoin(expected.shape, ", "),
                     "], here it is [", absl::StrJoin(ours.shape, ", "), "]"));
  }
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < ours.values.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(ours.values[i]) - static_cast<double>(expected.values[i]));
    if (std::isnan(difference)) worst = std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(static_cast<double>(expected.values[i])));
  }
  if (layer == "probs") return GoldenRow{layer, "", worst, kProbsTolerance};
  return GoldenRow{layer, "", largest > 0 ? worst / largest : worst, kGapTolerance};
}

absl::StatusOr<std::optional<LayerDifference>> FirstDifferentLayer(
    const std::vector<nn::LayerStatistics>& ours, const std::string& layers_json) {
  const auto document = nlohmann::ordered_json::parse(layers_json, nullptr, false);
  if (!document.is_object() || !document.contains("layers") || !document["layers"].is_object()) {
    return absl::InvalidArgumentError("layers.json holds no object \"layers\"");
  }
  std::map<std::string, std::vector<std::pair<double, double>>> expected;
  for (const auto& [name, value] : document["layers"].items()) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number() || !value[1].is_number()) {
      return absl::InvalidArgumentError("layers.json: a layer is [mean, deviation]");
    }
    expected[WithoutCounter(name)].emplace_back(value[0].get<double>(), value[1].get<double>());
  }
  std::map<std::string, size_t> next;
  for (const nn::LayerStatistics& layer : ours) {
    const std::string base = WithoutCounter(layer.layer);
    const auto found = expected.find(base);
    const size_t n = next[base]++;
    if (found == expected.end() || n >= found->second.size()) continue;
    const auto [mean, deviation] = found->second[n];
    const double allowed = kLayerTolerance * deviation;
    // Written so that NaN differs.
    if (std::abs(layer.mean - mean) <= allowed &&
        std::abs(layer.deviation - deviation) <= allowed) {
      continue;
    }
    return LayerDifference{layer.layer, layer.mean, layer.deviation, mean, deviation};
  }
  return std::nullopt;
}

}  // namespace atelier::cli
