// ITU-R 601 luma as Pillow's convert("L"): (19595 R + 38470 G + 7471 B + 0x8000) >> 16.
#pragma once

#include "common/vision/image.h"

namespace atelier::vision {

// Three channels to one; a grey picture is returned as it is. Pure; thread-safe.
Image ToGrayscale(const Image& in);

}  // namespace atelier::vision
