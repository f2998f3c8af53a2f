// Small pictures for the data room's tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "common/vision/decode.h"

namespace atelier::data {

// A PNG whose bytes depend on `seed`.
inline std::string Png(int seed, int size = 24) {
  vision::Image image = vision::Image::Make(size, size, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>((i * 7 + static_cast<size_t>(seed) * 31) % 251);
  }
  return vision::EncodePng(image).value();
}

// A grey BMP of `side` (a multiple of four) squared.
inline std::string GreyBmp(int side) {
  const auto number = [](int value) {
    std::string bytes;
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift);
    return bytes;
  };
  const int pixels_at = 54 + 4 * 256;
  std::string bmp = "BM" + number(pixels_at + side * side) + number(0) + number(pixels_at);
  bmp += number(40) + number(side) + number(side) + std::string("\1\0\x08\0", 4) + number(0);
  bmp += number(side * side) + number(0) + number(0) + number(256) + number(0);
  for (int level = 0; level < 256; ++level) bmp += number(level * 0x010101);
  return bmp + std::string(static_cast<size_t>(side) * side, '\x55');
}

inline void Write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;  // without the fsync of files that matter
}

// DIR/<class>/<i>.png, `per_class` different pictures of each class.
inline void WriteClasses(const std::filesystem::path& dir, int per_class) {
  int seed = 0;
  for (const char* name : {"cat", "dog"}) {
    for (int i = 0; i < per_class; ++i) {
      Write(dir / name / (std::to_string(i) + ".png"), Png(seed++));
    }
  }
}

}  // namespace atelier::data
