#include <utility>

#include "common/vision/picture_info.h"

namespace atelier::vision {

Image ApplyOrientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool transpose = orientation >= 5;
  // In the stored picture, where the first row and the first column of the upright one run from.
  const bool bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const int64_t channels = image.channels;
  const int64_t stride = image.width * channels;
  const int64_t down = bottom ? -stride : stride;
  const int64_t across = right ? -channels : channels;
  const int64_t row_step = transpose ? across : down;
  const int64_t col_step = transpose ? down : across;
  Image out = transpose ? Image::Make(image.width, image.height, image.channels)
                        : Image::Make(image.height, image.width, image.channels);
  const uint8_t* first = image.pixels.data() + (bottom ? (image.height - 1) * stride : 0) +
                         (right ? (image.width - 1) * channels : 0);
  uint8_t* to = out.pixels.data();
  for (int row = 0; row < out.height; ++row) {
    const uint8_t* from = first + row * row_step;
    for (int col = 0; col < out.width; ++col, from += col_step, to += channels) {
      for (int64_t c = 0; c < channels; ++c) to[c] = from[c];
    }
  }
  return out;
}

}  // namespace atelier::vision
