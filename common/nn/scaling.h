// The one preprocessing function: what happens to 0..255 before a backbone sees it. Torch header.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::nn {

// y = x * scale + shift, the same for every channel of the families there are.
struct PixelScaling {
  float divisor = 1;  // y = (x - mean) / divisor, in float32
  float mean = 0;
};

// AUTO: xception x/127.5-1, efficientnet_lite (x-127)/128, tiny_cnn x/127.5-1. NOTEBOOK: x/255.
// InvalidArgument for an unknown backbone.
absl::StatusOr<PixelScaling> ScalingOf(std::string_view backbone, v1::Scaling scaling);

// `pixels`: uint8 NHWC [n, height, width, channels], dense. Returns float32 NCHW (logical order) in
// channels_last memory on the CPU; owns its memory.
at::Tensor ScalePixels(const uint8_t* pixels, int64_t n, int64_t height, int64_t width,
                       int64_t channels, const PixelScaling& scaling);

}  // namespace atelier::nn
