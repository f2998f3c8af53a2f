#include "common/nn/catalog.h"

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/families.h"

namespace atelier::nn {
namespace {

struct Entry {
  BackboneInfo info;  // id, display name, features, default size, min size, input, ImageNet weights
  std::function<Graph(int input_channels)> graph;
};

std::function<Graph(int)> EfficientNet(double width, double depth) {
  return [=](int channels) { return EfficientNetGraph(channels, width, depth); };
}
std::function<Graph(int)> EfficientNetLite(double width, double depth) {
  return [=](int channels) { return EfficientNetLiteGraph(channels, width, depth); };
}

const std::vector<Entry>& Table() {
  using enum ImagenetInput;
  static const auto* const table = new std::vector<Entry>{
      {{"xception", "Xception", 2048, 299, 71, kMinusOneToOne, true}, XceptionGraph},
      {{"inception_v3", "InceptionV3", 2048, 299, 75, kMinusOneToOne, true}, InceptionV3Graph},
      {{"inception_resnet_v2", "InceptionResNetV2", 1536, 299, 75, kMinusOneToOne, true},
       InceptionResNetV2Graph},
      {{"densenet201", "DenseNet201", 1920, 224, 32, kStandardized, true}, DenseNet201Graph},
      {{"efficientnet_b0", "EfficientNetB0", 1280, 224, 32, kPixels, true}, EfficientNet(1.0, 1.0)},
      {{"efficientnet_b1", "EfficientNetB1", 1280, 240, 32, kPixels, true}, EfficientNet(1.0, 1.1)},
      {{"efficientnet_b2", "EfficientNetB2", 1408, 260, 32, kPixels, true}, EfficientNet(1.1, 1.2)},
      {{"efficientnet_b3", "EfficientNetB3", 1536, 300, 32, kPixels, true}, EfficientNet(1.2, 1.4)},
      {{"efficientnet_b4", "EfficientNetB4", 1792, 380, 32, kPixels, true}, EfficientNet(1.4, 1.8)},
      {{"efficientnet_b5", "EfficientNetB5", 2048, 456, 32, kPixels, true}, EfficientNet(1.6, 2.2)},
      {{"efficientnet_lite0", "EfficientNet-Lite0", 1280, 224, 32, kLite, true},
       EfficientNetLite(1.0, 1.0)},
      {{"efficientnet_lite1", "EfficientNet-Lite1", 1280, 240, 32, kLite, true},
       EfficientNetLite(1.0, 1.1)},
      {{"efficientnet_lite2", "EfficientNet-Lite2", 1280, 260, 32, kLite, true},
       EfficientNetLite(1.1, 1.2)},
      {{"tiny_cnn", "TinyCNN", 64, 32, 16, kMinusOneToOne, false}, TinyCnnGraph},
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
