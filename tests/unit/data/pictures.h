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
  return vision::EncodePng(image);
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
