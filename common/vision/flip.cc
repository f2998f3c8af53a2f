#include "common/vision/flip.h"

#include <algorithm>
#include <cstring>

namespace atelier::vision {

Image FlipHorizontal(const Image& in) {
  Image out = Image::Make(in.height, in.width, in.channels);
  const size_t channels = static_cast<size_t>(in.channels);
  const size_t row_bytes = static_cast<size_t>(in.width) * channels;
  for (size_t row = 0; row < static_cast<size_t>(in.height); ++row) {
    const uint8_t* from = in.pixels.data() + row * row_bytes;
    uint8_t* to = out.pixels.data() + (row + 1) * row_bytes;
    for (size_t i = 0; i < row_bytes; i += channels) {
      to -= channels;
      std::copy_n(from + i, channels, to);
    }
  }
  return out;
}

Image FlipVertical(const Image& in) {
  Image out = Image::Make(in.height, in.width, in.channels);
  const size_t row_bytes = static_cast<size_t>(in.width) * static_cast<size_t>(in.channels);
  const size_t rows = static_cast<size_t>(in.height);
  for (size_t row = 0; row < rows; ++row) {
    std::memcpy(out.pixels.data() + row * row_bytes,
                in.pixels.data() + (rows - 1 - row) * row_bytes, row_bytes);
  }
  return out;
}

}  // namespace atelier::vision
