#include "common/nn/catalog.h"

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/families.h"

namespace atelier::nn {
namespace {

struct Entry {
  BackboneInfo info;  // id, display name, features, default size, min size, ImageNet weights
  std::function<Graph(int input_channels)> graph;
};

const std::vector<Entry>& Table() {
  static const auto* const table = new std::vector<Entry>{
      {{"xception", "Xception", 2048, 299, 71, true}, XceptionGraph},
      {{"efficientnet_lite0", "EfficientNet-Lite0", 1280, 224, 32, true},
       [](int channels) { return EfficientNetLiteGraph(channels, 1.0, 1.0); }},
      {{"tiny_cnn", "TinyCNN", 64, 32, 16, false}, TinyCnnGraph},
  };
  return *table;
}

absl::StatusOr<const Entry*> FindEntry(std::string_view id) {
  for (const Entry& entry : Table()) {
    if (entry.info.id == id) return &entry;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown backbone \"", std::string(id.substr(0, 64)), "\"; there are: ",
                   absl::StrJoin(Backbones(), ", ", [](std::string* out, const BackboneInfo& info) {
                     absl::StrAppend(out, info.id);
                   })));
}

}  // namespace

const std::vector<BackboneInfo>& Backbones() {
  static const auto* const infos = [] {
    auto* out = new std::vector<BackboneInfo>;
    for (const Entry& entry : Table()) out->push_back(entry.info);
    return out;
  }();
  return *infos;
}

absl::StatusOr<BackboneInfo> FindBackbone(std::string_view id) {
  const absl::StatusOr<const Entry*> entry = FindEntry(id);
  if (!entry.ok()) return entry.status();
  return (*entry)->info;
}

absl::StatusOr<Graph> BuildBackboneGraph(std::string_view id, int input_channels) {
  const absl::StatusOr<const Entry*> entry = FindEntry(id);
  if (!entry.ok()) return entry.status();
  if (input_channels != 1 && input_channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("a backbone takes 3 channels (RGB) or 1 (grey), not ", input_channels));
  }
  return (*entry)->graph(input_channels);
}

}  // namespace atelier::nn
