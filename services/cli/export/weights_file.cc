#include "services/cli/export/weights_file.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace atelier::exporting {
namespace {

using Tensors = std::map<std::string, nn::TensorView>;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status Misfit(const std::string& backbone, const std::string& text) {
  return absl::FailedPreconditionError(
      absl::StrCat("the weights do not fit ", backbone, ": ", text));
}

absl::Status CheckTensor(const std::string& backbone, const Tensors& tensors,
                         const std::string& name, const std::vector<int64_t>& shape) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    return Misfit(backbone, absl::StrCat("tensor \"", name, "\" is missing"));
  }
  if (found->second.shape != shape) {
    return Misfit(backbone,
                  absl::StrCat("tensor \"", name, "\" is ", ShapeText(found->second.shape),
                               ", expected ", ShapeText(shape)));
  }
  return absl::OkStatus();
}

// Sets weights.head and checks its four (or two) tensors.
absl::Status CheckHead(WeightsFile& weights) {
  const auto predictions = weights.tensors.find("head/predictions/kernel");
  if (predictions == weights.tensors.end()) return absl::OkStatus();
  const auto rows = [](const nn::TensorView& kernel) {
    return kernel.shape.empty() ? 0 : kernel.shape.front();
  };
  int64_t width = weights.graph.features();
  weights.head.classes = rows(predictions->second);
  if (const auto dense = weights.tensors.find("head/dense/kernel");
      dense != weights.tensors.end()) {
    weights.head.hidden_units = rows(dense->second);
  }
  const auto check = [&](const std::string& layer, int64_t units) -> absl::Status {
    ATELIER_RETURN_IF_ERROR(CheckTensor(weights.backbone.id, weights.tensors,
                                        absl::StrCat("head/", layer, "/kernel"), {units, width}));
    width = units;
    return CheckTensor(weights.backbone.id, weights.tensors, absl::StrCat("head/", layer, "/bias"),
                       {units});
  };
  if (weights.head.hidden_units > 0) {
    ATELIER_RETURN_IF_ERROR(check("dense", weights.head.hidden_units));
  }
  return check("predictions", weights.head.classes);
}

absl::Status CheckNumbers(const Tensors& tensors) {
  for (const auto& [name, view] : tensors) {
    if (view.dtype != nn::DType::kF32) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" is not float32, as Atelier's weights are"));
    }
    if (nn::HasNonFinite(view)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" holds a NaN or an infinite number"));
    }
  }
  return absl::OkStatus();
}

// Grey when the first kernel reads one channel.
int ChannelsOf(const nn::Graph& graph, const Tensors& tensors) {
  for (const nn::Variable& variable : graph.variables) {
    if (variable.kind != nn::VariableKind::kKernel) continue;
    const auto found = tensors.find("backbone/" + variable.name);
    const bool grey =
        found != tensors.end() && found->second.shape.size() == 4 && found->second.shape[1] == 1;
    return grey ? 1 : 3;
  }
  return 3;
}

}  // namespace

absl::StatusOr<WeightsFile> ReadWeights(std::string bytes, const WeightsFileOptions& options) {
  WeightsFile weights;
  weights.bytes = std::move(bytes);
  // A short string's characters would stay behind in a move; no file of weights is that short.
  if (weights.bytes.size() < 64) return absl::InvalidArgumentError("no safetensors file");
  ATELIER_ASSIGN_OR_RETURN(nn::Safetensors file, nn::ParseSafetensors(weights.bytes));
  weights.tensors = std::move(file.tensors);
  weights.metadata = std::move(file.metadata);
  const std::string id = options.backbone.empty() ? weights.metadata["backbone"] : options.backbone;
  if (id.empty()) {
    return absl::InvalidArgumentError(
        "the file does not name its backbone: say it with "
        "--backbone");
  }
  ATELIER_ASSIGN_OR_RETURN(weights.backbone, nn::FindBackbone(id));
  ATELIER_ASSIGN_OR_RETURN(weights.graph, nn::BuildBackboneGraph(id));
  weights.channels = ChannelsOf(weights.graph, weights.tensors);
  if (weights.channels != 3) {
    ATELIER_ASSIGN_OR_RETURN(weights.graph, nn::BuildBackboneGraph(id, weights.channels));
  }
  if (!options.head) {
    std::erase_if(weights.tensors,
                  [](const auto& item) { return item.first.starts_with("head/"); });
  }
  for (const nn::Variable& variable : weights.graph.variables) {
    ATELIER_RETURN_IF_ERROR(
        CheckTensor(id, weights.tensors, "backbone/" + variable.name, variable.shape));
  }
  ATELIER_RETURN_IF_ERROR(CheckHead(weights));
  const size_t in_head =
      weights.head.classes == 0 ? 0 : (weights.head.hidden_units == 0 ? size_t{2} : size_t{4});
  if (weights.tensors.size() != weights.graph.variables.size() + in_head) {
    return Misfit(id, absl::StrCat("expected ", weights.graph.variables.size() + in_head,
                                   " tensors, there are ", weights.tensors.size()));
  }
  ATELIER_RETURN_IF_ERROR(CheckNumbers(weights.tensors));
  return weights;
}

std::string FormulaOf(const Preprocessing& p) {
  return absl::StrCat("(x - [", absl::StrJoin(p.mean, ", "), "]) / [",
                      absl::StrJoin(p.divisor, ", "), "]");
}

bool DividesOnceMore(const WeightsFile& weights) {
  constexpr float kTolerance = 1e-3F;  // relative
  for (const nn::Variable& variable : weights.graph.variables) {
    if (variable.kind != nn::VariableKind::kVariance) continue;
    std::array<float, 3> variance = {};
    const std::string_view bytes = weights.Of(variable).bytes;
    if (bytes.size() != sizeof variance) return false;
    std::memcpy(variance.data(), bytes.data(), bytes.size());
    for (size_t c = 0; c < variance.size(); ++c) {
      const float expected = kImagenetDeviation[c];
      if (std::abs(variance[c] - expected) > kTolerance * expected) return false;
    }
    return true;
  }
  return false;
}

std::string ToSafetensors(const WeightsFile& weights,
                          const std::map<std::string, std::string>& metadata) {
  return nn::SerializeSafetensors(weights.tensors, metadata);
}

}  // namespace atelier::exporting
