// Mirror images. Pure; thread-safe.
#pragma once

#include "common/vision/image.h"

namespace atelier::vision {

Image FlipHorizontal(const Image& in);  // left and right change places
Image FlipVertical(const Image& in);    // top and bottom change places

}  // namespace atelier::vision
