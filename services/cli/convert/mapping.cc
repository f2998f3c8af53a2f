#include "services/cli/convert/mapping.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "services/cli/convert/foreign_names.h"

namespace atelier::convert {
namespace {

struct TargetLayer {
  std::string name;
  std::string keras_class;  // as Keras 3 names groups
  std::vector<const nn::Variable*> variables;
};

std::string LeafOf(const std::string& name) { return name.substr(name.rfind('/') + 1); }

std::string KerasClass(const std::vector<const nn::Variable*>& variables) {
  const nn::Variable& first = *variables.front();
  if (first.kind == nn::VariableKind::kGamma || first.kind == nn::VariableKind::kBeta) {
    return "batch_normalization";
  }
  if (first.kind == nn::VariableKind::kMean) return "normalization";
  if (LeafOf(first.name) == "depthwise_kernel") return "separable_conv2d";
  if (first.kind == nn::VariableKind::kDepthwiseKernel) return "depthwise_conv2d";
  return first.shape.size() == 2 ? "dense" : "conv2d";
}

std::vector<TargetLayer> TargetLayers(const nn::Graph& graph) {
  std::vector<TargetLayer> layers;
  for (const nn::Variable& variable : graph.variables) {
    const std::string layer = variable.name.substr(0, variable.name.rfind('/'));
    if (layers.empty() || layers.back().name != layer) layers.push_back({layer, "", {}});
    layers.back().variables.push_back(&variable);
  }
  for (TargetLayer& layer : layers) layer.keras_class = KerasClass(layer.variables);
  return layers;
}

std::vector<int> Permutation(Layout layout, nn::VariableKind kind, size_t rank) {
  if (layout == Layout::kTorch) return {};
  if (kind == nn::VariableKind::kDepthwiseKernel) return {2, 3, 0, 1};
  if (kind != nn::VariableKind::kKernel) return {};
  return rank == 2 ? std::vector<int>{1, 0} : std::vector<int>{3, 2, 0, 1};
}

// One try at a place in the source.
struct Attempt {
  size_t layers_matched = 0;
  absl::Status status;
  std::vector<MappedTensor> tensors;
  std::set<const SourceTensor*> used;
};

// Adds one layer's tensors, or sets the status that names the first mismatch.
bool MatchLayer(const Source& source, const TargetLayer& target, size_t number,
                const std::string& layer_name, const std::vector<const SourceTensor*>& tensors,
                Attempt* attempt) {
  const auto fail = [&](const std::string& text) {
    attempt->status = absl::FailedPreconditionError(
        absl::StrCat("layer ", number, " (", target.name, "): ", text));
    return false;
  };
  if (tensors.size() != target.variables.size()) {
    return fail(absl::StrCat("expected ", target.variables.size(), " tensors, \"", layer_name,
                             "\" has ", tensors.size()));
  }
  for (size_t i = 0; i < target.variables.size(); ++i) {
    const nn::Variable& variable = *target.variables[i];
    const SourceTensor& tensor = *tensors[i];
    const std::vector<int64_t> expected =
        source.layout == Layout::kKeras ? nn::KerasShape(variable) : variable.shape;
    // Keras counts in integers; everything else must be floating.
    const bool right_type = tensor.floating || variable.kind == nn::VariableKind::kCount;
    if (tensor.shape != expected || !right_type) {
      return fail(absl::StrCat("expected ", LeafOf(variable.name), " ", ShapeText(expected),
                               ", found \"", tensor.name, "\" ", ShapeText(tensor.shape), " ",
                               tensor.dtype));
    }
    attempt->tensors.push_back({absl::StrCat("backbone/", variable.name), variable.shape,
                                Permutation(source.layout, variable.kind, variable.shape.size()),
                                tensor});
    attempt->used.insert(&tensor);
  }
  ++attempt->layers_matched;
  return true;
}

std::vector<const SourceTensor*> TensorsOf(const SourceLayer& layer) {
  std::vector<const SourceTensor*> tensors;
  for (const SourceTensor& tensor : layer.tensors) tensors.push_back(&tensor);
  return tensors;
}

void MatchInSequence(const Source& source, const std::vector<TargetLayer>& targets,
                     const std::vector<const SourceLayer*>& layers, size_t offset,
                     Attempt* attempt) {
  for (size_t i = 0; i < targets.size(); ++i) {
    if (offset + i >= layers.size()) {
      attempt->status = absl::FailedPreconditionError(
          absl::StrCat("layer ", i, " (", targets[i].name, "): the file ends after ", layers.size(),
                       " layers with weights; ", targets.size(), " are needed"));
      return;
    }
    const SourceLayer& layer = *layers[offset + i];
    if (!MatchLayer(source, targets[i], i, layer.name, TensorsOf(layer), attempt)) return;
  }
}

void MatchPerClass(const Source& source, const std::vector<TargetLayer>& targets,
                   const SourceContainer& container, Attempt* attempt) {
  std::map<std::string, std::vector<const SourceLayer*>> by_class;
  for (const SourceLayer& layer : container.layers) {
    if (!layer.tensors.empty()) by_class[layer.keras_class].push_back(&layer);
  }
  std::map<std::string, size_t> next;
  for (size_t i = 0; i < targets.size(); ++i) {
    const auto& layers = by_class[targets[i].keras_class];
    const size_t n = next[targets[i].keras_class]++;
    if (n >= layers.size()) {
      attempt->status = absl::FailedPreconditionError(absl::StrCat(
          "layer ", i, " (", targets[i].name, "): the file has only ", layers.size(),
          " layers of class ", targets[i].keras_class, " in \"", container.path, "\""));
      return;
    }
    const SourceLayer& layer = *layers[n];
    if (!MatchLayer(source, targets[i], i, layer.name, TensorsOf(layer), attempt)) return;
  }
}

// Own, timm's or torch-hub's names, each also below a usual prefix.
void MatchByName(const Source& source, std::string_view backbone,
                 const std::vector<TargetLayer>& targets, const SourceLayer& all,
                 Attempt* attempt) {
  std::map<std::string, const SourceTensor*> by_name;
  for (const SourceTensor& tensor : all.tensors) by_name.emplace(tensor.name, &tensor);
  const auto find = [&](const std::vector<std::string>& names) -> const SourceTensor* {
    for (const std::string& name : names) {
      for (const char* prefix : {"", "module.", "model.", "backbone.", "net."}) {
        const auto it = by_name.find(prefix + name);
        if (it != by_name.end()) return it->second;
      }
    }
    return nullptr;
  };
  for (size_t i = 0; i < targets.size(); ++i) {
    std::vector<const SourceTensor*> found;
    for (const nn::Variable* variable : targets[i].variables) {
      const std::vector<std::string> names =
          ForeignNames(backbone, targets[i].name, LeafOf(variable->name));
      const SourceTensor* tensor = find(names);
      if (tensor == nullptr) {
        attempt->status = absl::FailedPreconditionError(absl::StrCat(
            "layer ", i, " (", targets[i].name, "): no tensor \"", names.front(), "\"",
            names.size() > 2 ? absl::StrCat(" or \"", names.back(), "\"") : std::string()));
        return;
      }
      found.push_back(tensor);
    }
    if (!MatchLayer(source, targets[i], i, targets[i].name, found, attempt)) return;
  }
}

bool BetterThan(const Attempt& a, const Attempt& b) {
  if (a.status.ok() != b.status.ok()) return a.status.ok();
  return a.layers_matched > b.layers_matched;
}

struct Placed {
  Attempt attempt;
  const SourceContainer* container = nullptr;
};

Placed FindPlace(const Source& source, std::string_view backbone,
                 const std::vector<TargetLayer>& targets) {
  Placed best;
  best.attempt.status = absl::FailedPreconditionError("the file has no layers with weights");
  const auto consider = [&](Attempt attempt, const SourceContainer& container) {
    if (best.container == nullptr || BetterThan(attempt, best.attempt)) {
      best = {std::move(attempt), &container};
    }
  };
  for (const SourceContainer& container : source.containers) {
    if (source.order == Order::kPerClass) {
      Attempt attempt;
      MatchPerClass(source, targets, container, &attempt);
      consider(std::move(attempt), container);
      continue;
    }
    if (source.order == Order::kNames) {
      Attempt attempt;
      MatchByName(source, backbone, targets, container.layers.front(), &attempt);
      consider(std::move(attempt), container);
      continue;
    }
    std::vector<const SourceLayer*> layers;
    for (const SourceLayer& layer : container.layers) {
      if (!layer.tensors.empty()) layers.push_back(&layer);
    }
    // The backbone may come after other layers (a normalisation, say).
    const size_t last = layers.size() > targets.size() ? layers.size() - targets.size() : 0;
    for (size_t offset = 0; offset <= last && !best.attempt.status.ok(); ++offset) {
      Attempt attempt;
      MatchInSequence(source, targets, layers, offset, &attempt);
      consider(std::move(attempt), container);
    }
  }
  return best;
}

// kernel and bias of a dense layer; `in`, `out` are its widths.
bool IsDense(Layout layout, const SourceLayer& layer, int64_t* in, int64_t* out) {
  if (layer.tensors.size() != 2 || layer.tensors[0].shape.size() != 2 ||
      layer.tensors[1].shape.size() != 1 || !layer.tensors[0].floating ||
      !layer.tensors[1].floating) {
    return false;
  }
  *in = layer.tensors[0].shape[layout == Layout::kKeras ? 0 : 1];
  *out = layer.tensors[0].shape[layout == Layout::kKeras ? 1 : 0];
  return layer.tensors[1].shape[0] == *out;
}

void AddHeadLayer(const Source& source, const std::string& name, const SourceLayer& layer,
                  int64_t in, int64_t out, Mapping* mapping, std::set<const SourceTensor*>* used) {
  mapping->tensors.push_back({absl::StrCat("head/", name, "/kernel"),
                              {out, in},
                              Permutation(source.layout, nn::VariableKind::kKernel, 2),
                              layer.tensors[0]});
  mapping->tensors.push_back({absl::StrCat("head/", name, "/bias"), {out}, {}, layer.tensors[1]});
  used->insert({&layer.tensors[0], &layer.tensors[1]});
  mapping->has_head = true;
}

// Atelier's own files name the head.
void MapNamedHead(const Source& source, int64_t features, Mapping* mapping,
                  std::set<const SourceTensor*>* used) {
  SourceLayer layers[2];
  const char* names[2] = {"dense", "predictions"};
  std::vector<const SourceTensor*> found;
  for (int i = 0; i < 2; ++i) {
    for (const char* variable : {"kernel", "bias"}) {
      for (const SourceTensor& tensor : source.containers.front().layers.front().tensors) {
        if (tensor.name == absl::StrCat("head/", names[i], "/", variable)) {
          layers[i].tensors.push_back(tensor);
          found.push_back(&tensor);
        }
      }
    }
  }
  int64_t in[2];
  int64_t out[2];
  if (!IsDense(source.layout, layers[0], &in[0], &out[0]) ||
      !IsDense(source.layout, layers[1], &in[1], &out[1]) || in[0] != features || in[1] != out[0]) {
    return;
  }
  for (int i = 0; i < 2; ++i) {
    AddHeadLayer(source, names[i], layers[i], in[i], out[i], mapping, used);
  }
  used->insert(found.begin(), found.end());
}

// Unused dense layers beside the backbone or in a model around it.
void MapHead(const Source& source, const std::string& backbone_path, int64_t features,
             Mapping* mapping, std::set<const SourceTensor*>* used) {
  std::vector<const SourceLayer*> dense;
  for (const SourceContainer& container : source.containers) {
    if (backbone_path.rfind(container.path, 0) != 0) continue;
    for (const SourceLayer& layer : container.layers) {
      int64_t in = 0;
      int64_t out = 0;
      if (IsDense(source.layout, layer, &in, &out) && used->count(&layer.tensors[0]) == 0) {
        dense.push_back(&layer);
      }
    }
  }
  if (dense.size() != 2) return;
  int64_t in[2];
  int64_t out[2];
  for (int i = 0; i < 2; ++i) IsDense(source.layout, *dense[i], &in[i], &out[i]);
  if (in[0] != features || in[1] != out[0]) return;
  AddHeadLayer(source, "dense", *dense[0], in[0], out[0], mapping, used);
  AddHeadLayer(source, "predictions", *dense[1], in[1], out[1], mapping, used);
}

void ListLeftOut(const Source& source, bool head, const std::set<const SourceTensor*>& used,
                 Mapping* mapping) {
  for (const SourceContainer& container : source.containers) {
    for (const SourceLayer& layer : container.layers) {
      for (const SourceTensor& tensor : layer.tensors) {
        if (used.count(&tensor) > 0) continue;
        int64_t in = 0;
        int64_t out = 0;
        std::string reason = "not part of the backbone";
        if (!head &&
            (tensor.name.rfind("head/", 0) == 0 || IsDense(source.layout, layer, &in, &out))) {
          reason = "head, not asked for";
        } else if (IsDense(source.layout, layer, &in, &out)) {
          reason = absl::StrCat("dense layer ", in, " -> ", out,
                                " that is no head of Atelier's shape (dense, predictions)");
        }
        mapping->left_out.push_back({tensor.name, tensor.shape, std::move(reason)});
      }
    }
  }
  mapping->left_out.insert(mapping->left_out.end(), source.left_out.begin(), source.left_out.end());
}

struct Result {
  absl::StatusOr<Mapping> mapping;
  size_t layers_matched = 0;
};

Result TryToMap(const Source& source, std::string_view backbone, const nn::Graph& graph,
                bool head) {
  const std::vector<TargetLayer> targets = TargetLayers(graph);
  Placed placed = FindPlace(source, backbone, targets);
  Result result;
  result.layers_matched = placed.attempt.layers_matched;
  if (!placed.attempt.status.ok()) {
    result.mapping =
        Annotate(placed.attempt.status,
                 absl::StrCat("not the weights of ", std::string(backbone), ", first mismatch"));
    return result;
  }
  Mapping mapping;
  mapping.backbone = std::string(backbone);
  mapping.tensors = std::move(placed.attempt.tensors);
  std::set<const SourceTensor*> used = std::move(placed.attempt.used);
  if (head && source.order == Order::kNames) {
    MapNamedHead(source, graph.features(), &mapping, &used);
  } else if (head) {
    MapHead(source, placed.container->path, graph.features(), &mapping, &used);
  }
  ListLeftOut(source, head, used, &mapping);
  result.mapping = std::move(mapping);
  return result;
}

}  // namespace

absl::StatusOr<Mapping> MapOnto(const Source& source, std::string_view backbone,
                                const nn::Graph& graph, bool head) {
  return TryToMap(source, backbone, graph, head).mapping;
}

absl::StatusOr<Mapping> GuessAndMap(const Source& source, bool head) {
  Result best;
  best.mapping = absl::FailedPreconditionError("no backbone is built in");
  size_t best_size = 0;
  std::string tried;
  for (const nn::BackboneInfo& info : nn::Backbones()) {
    ATELIER_ASSIGN_OR_RETURN(const nn::Graph graph, nn::BuildBackboneGraph(info.id));
    Result result = TryToMap(source, info.id, graph, head);
    absl::StrAppend(&tried, tried.empty() ? "" : ", ", info.id);
    const bool better = result.mapping.ok() != best.mapping.ok()
                            ? result.mapping.ok()
                            : (result.mapping.ok() ? graph.variables.size() > best_size
                                                   : result.layers_matched >= best.layers_matched);
    if (better) {
      best = std::move(result);
      best_size = graph.variables.size();
    }
  }
  if (!best.mapping.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("none of the backbones fits (", tried,
                     "); the closest: ", std::string(best.mapping.status().message())));
  }
  best.mapping->guessed = true;
  return std::move(best.mapping);
}

}  // namespace atelier::convert
