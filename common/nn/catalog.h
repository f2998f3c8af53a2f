// The table of backbones: one entry each. No torch here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::nn {

// What ImageNet weights were trained on; scaling.h has the formulas.
enum class ImagenetInput { kPixels, kMinusOneToOne, kLite, kStandardized };

struct BackboneInfo {
  std::string id;            // "xception"
  std::string display_name;  // "Xception"
  int features;              // width of the pooled output
  int default_size;          // pixels, of its ImageNet weights
  int min_size;
  ImagenetInput input;
  bool has_imagenet_weights;
};

// In the order of DESIGN.md's list.
const std::vector<BackboneInfo>& Backbones();

// InvalidArgument naming the ids there are.
absl::StatusOr<BackboneInfo> FindBackbone(std::string_view id);

}  // namespace atelier::nn
