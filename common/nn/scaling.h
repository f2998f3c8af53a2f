// The one preprocessing function: what happens to 0..255 before a backbone sees it. Torch header.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "common/nn/pixel_scaling.h"

namespace atelier::nn {

// `pixels`: uint8 NHWC [n, height, width, channels], dense. Returns float32 NCHW (logical order) in
// channels_last memory on the CPU; owns its memory. A grey picture (one channel) takes the mean of
// the three channels' scalings.
at::Tensor ScalePixels(const uint8_t* pixels, int64_t n, int64_t height, int64_t width,
                       int64_t channels, const PixelScaling& scaling);

}  // namespace atelier::nn
