// Augment on a whole picture, and its steps in plain loops to compare with.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/vision/augment.h"
#include "common/vision/image.h"

namespace atelier::vision {

inline Image Augmented(const Image& in, const AugmentParams& params) {
  Image out = Image::Make(in.height, in.width, in.channels);
  Augment(in, params, out.pixels.data());
  return out;
}

// Left and right change places, and top and bottom.
inline Image PlainlyFlipped(const Image& in, bool horizontal, bool vertical) {
  Image out = Image::Make(in.height, in.width, in.channels);
  size_t at = 0;
  for (int row = 0; row < in.height; ++row) {
    for (int col = 0; col < in.width; ++col) {
      const int from_row = vertical ? in.height - 1 - row : row;
      const int from_col = horizontal ? in.width - 1 - col : col;
      for (int c = 0; c < in.channels; ++c) {
        out.pixels[at++] =
            in.pixels[static_cast<size_t>((from_row * in.width + from_col) * in.channels + c)];
      }
    }
  }
  return out;
}

// Pillow's Image.blend of black and a level.
inline uint8_t PlainlyBrightened(float factor, int level) {
  return static_cast<uint8_t>(std::clamp(factor * static_cast<float>(level), 0.0F, 255.0F));
}

// With Keras' stretch (TF 2.4) to the whole range before.
inline Image PlainlyStretchedAndBrightened(Image image, float factor) {
  const auto [min, max] = std::minmax_element(image.pixels.begin(), image.pixels.end());
  const int low = *min;
  const auto span = static_cast<float>(*max - low);
  for (uint8_t& level : image.pixels) {
    const float part = span == 0 ? 0 : static_cast<float>(level - low) / span;
    level = PlainlyBrightened(factor, static_cast<int>(part * 255.0F));
  }
  return image;
}

}  // namespace atelier::vision
