#include "tests/golden/pattern_weights.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace atelier::nn::testing {
namespace {

constexpr size_t kBase = 4093;
constexpr size_t kRotation = 977;

std::vector<float> ReadBase() {
  const std::string bytes = ReadGoldenData("pattern_base.f32");
  if (bytes.size() != kBase * sizeof(float)) throw std::runtime_error("pattern_base.f32 is cut");
  std::vector<float> base(kBase);
  std::memcpy(base.data(), bytes.data(), bytes.size());
  return base;
}

// Variable number `index` of `keras_shape`, before its kind's transformation.
at::Tensor Pattern(const std::vector<float>& base, size_t index,
                   const std::vector<int64_t>& keras_shape) {
  at::Tensor p = at::empty(keras_shape, at::kDouble);
  auto* const out = p.data_ptr<double>();
  for (int64_t e = 0; e < p.numel(); ++e) {
    out[e] = static_cast<double>(base[(static_cast<size_t>(e) + index * kRotation) % kBase]);
  }
  return p;
}

at::Tensor Value(const Variable& variable, const at::Tensor& p, double m, double s) {
  switch (variable.kind) {
    case VariableKind::kGamma:
      return 1 + 0.3 * p;
    case VariableKind::kBeta:
    case VariableKind::kBias:
      return 0.1 * p;
    case VariableKind::kMovingMean:
      return m + 0.1 * std::sqrt(s) * p;
    case VariableKind::kMovingVariance:
      return s * (1 + 0.4 * p);
    case VariableKind::kMean:
      return 0.1 * p;
    case VariableKind::kVariance:
      return 1 + 0.4 * p;
    case VariableKind::kCount:
      return at::zeros_like(p);
    case VariableKind::kDepthwiseKernel:
      return (p * std::sqrt(6.0 / static_cast<double>(p.size(0) * p.size(1))))
          .permute({2, 3, 0, 1});
    case VariableKind::kKernel:
      return (p * std::sqrt(6.0 / static_cast<double>(p.size(0) * p.size(1) * p.size(2))))
          .permute({3, 2, 0, 1});
  }
  return p;
}

}  // namespace

std::string ReadGoldenData(const std::string& name) {
  const char* const root = std::getenv("ATELIER_SOURCE_DIR");
  const std::filesystem::path path =
      std::filesystem::path(root == nullptr ? "." : root) / "tests/golden/data" / name;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no tests/golden/data/" + name + "; set ATELIER_SOURCE_DIR");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

nlohmann::json ReadGoldenJson(const std::string& name) {
  return nlohmann::json::parse(ReadGoldenData(name));
}

std::pair<double, double> BatchNormTable::Of(const std::string& layer, size_t index) const {
  if (table_.empty()) return {0, 1};
  const nlohmann::json& entry = table_.is_object() ? table_.at(layer) : table_.at(index);
  return {entry.at(0).get<double>(), entry.at(1).get<double>()};
}

std::map<std::string, at::Tensor> PatternTensors(const Graph& graph, const BatchNormTable& table,
                                                 const std::vector<int64_t>& head) {
  const std::vector<float> base = ReadBase();
  std::map<std::string, at::Tensor> out;
  size_t batch_norm = 0;
  for (size_t i = 0; i < graph.variables.size(); ++i) {
    const Variable& variable = graph.variables[i];
    const std::string layer = variable.name.substr(0, variable.name.rfind('/'));
    double m = 0;
    double s = 1;
    if (variable.kind == VariableKind::kMovingMean ||
        variable.kind == VariableKind::kMovingVariance) {
      std::tie(m, s) = table.Of(layer, batch_norm);
    }
    if (variable.kind == VariableKind::kMovingVariance) ++batch_norm;
    out["backbone/" + variable.name] =
        Value(variable, Pattern(base, i, KerasShape(variable)), m, s).to(at::kFloat).contiguous();
  }
  if (head.empty()) return out;
  size_t index = graph.variables.size();
  int64_t width = graph.features();
  const char* const layers[] = {"head/dense", "head/predictions"};
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor kernel = Pattern(base, index++, {width, head[i]});
    out[std::string(layers[i]) + "/kernel"] =
        (kernel * std::sqrt(6.0 / static_cast<double>(width))).t().to(at::kFloat).contiguous();
    out[std::string(layers[i]) + "/bias"] =
        (0.1 * Pattern(base, index++, {head[i]})).to(at::kFloat);
    width = head[i];
  }
  return out;
}

std::vector<uint8_t> PatternPictures(int64_t size, int64_t pictures) {
  std::vector<uint8_t> out;
  out.reserve(static_cast<size_t>(pictures * size * size * 3));
  for (int64_t n = 0; n < pictures; ++n) {
    for (int64_t h = 0; h < size; ++h) {
      for (int64_t w = 0; w < size; ++w) {
        for (int64_t c = 0; c < 3; ++c) {
          out.push_back(
              static_cast<uint8_t>((7 * h + 13 * w + 29 * c + 101 * n + (h * w) % 17 * 5) % 256));
        }
      }
    }
  }
  return out;
}

}  // namespace atelier::nn::testing
