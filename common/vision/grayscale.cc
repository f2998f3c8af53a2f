#include "common/vision/grayscale.h"

namespace atelier::vision {

Image ToGrayscale(const Image& in) {
  if (in.channels == 1) return in;
  Image out = Image::Make(in.height, in.width, 1);
  const uint8_t* p = in.pixels.data();
  for (uint8_t& level : out.pixels) {
    level = static_cast<uint8_t>((p[0] * 19595U + p[1] * 38470U + p[2] * 7471U + 0x8000U) >> 16);
    p += 3;
  }
  return out;
}

}  // namespace atelier::vision
