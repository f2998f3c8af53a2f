// To a square of spec.size pixels; the aspect ratio is not kept (Keras).
#pragma once

#include "atelier/v1/image.pb.h"
#include "common/vision/image.h"

namespace atelier::vision {

// Pure; thread-safe. `spec.channels` must equal image.channels.
Image Resize(const Image& image, const v1::ImageSpec& spec);

}  // namespace atelier::vision
