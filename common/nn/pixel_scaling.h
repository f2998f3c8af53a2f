// What happens to 0..255 before a backbone sees it, as numbers. No torch here; scaling.h applies
// them.
#pragma once

#include <array>
#include <string_view>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::nn {

// y = (x - mean[c]) / divisor[c] in float32, c = R, G, B.
struct PixelScaling {
  std::array<float, 3> mean = {0, 0, 0};
  std::array<float, 3> divisor = {1, 1, 1};
};

// AUTO, what the backbone's ImageNet weights were trained on (keras.applications'
// preprocess_input): xception, inception_v3, inception_resnet_v2, tiny_cnn x/127.5-1; densenet201
// (x/255-mean)/std with mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225; efficientnet_b0..b5 x
// (they rescale inside); efficientnet_lite (x-127)/128. NOTEBOOK: x/255 for all. InvalidArgument
// for an unknown backbone.
absl::StatusOr<PixelScaling> ScalingOf(std::string_view backbone, v1::Scaling scaling);

}  // namespace atelier::nn
