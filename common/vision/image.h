// A decoded picture: uint8, HWC, RGB or grey, values 0..255. No OpenCV type crosses this folder's
// edge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace atelier::vision {

struct Image {
  int height = 0;
  int width = 0;
  int channels = 0;             // 3 (RGB) or 1 (grey)
  std::vector<uint8_t> pixels;  // height * width * channels, row-major HWC

  static Image Make(int height, int width, int channels) {
    return {height, width, channels,
            std::vector<uint8_t>(static_cast<std::size_t>(height) * width * channels)};
  }
};

}  // namespace atelier::vision
