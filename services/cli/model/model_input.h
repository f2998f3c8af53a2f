// What the model verbs read: weights, pictures as they are, arrays out of NumPy's archives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/inspector.h"

namespace atelier::cli {

struct Pixels {
  std::string bytes;  // uint8 NHWC
  int64_t n = 0;
  int64_t height = 0;
  int64_t width = 0;
  int channels = 0;
  nn::PixelBatch batch() const { return {bytes, n, height, width}; }
};

// A .npy of uint8 [n, height, width, 3 or 1] (or without n), or a picture, decoded to RGB and kept
// at its own size. InvalidArgument says what is expected.
absl::StatusOr<Pixels> ReadPixels(const std::filesystem::path& path);

// `weights`: a safetensors file; empty: the cache's file of `backbone`. `backbone` empty: what the
// file says it is. InvalidArgument with the next command when it is another format or not there.
absl::StatusOr<std::unique_ptr<nn::Inspector>> OpenInspector(std::string backbone,
                                                             const std::filesystem::path& weights,
                                                             int channels, bool head);

// Array NAME of an .npz, float32 or float64. NotFound when it has none.
absl::StatusOr<nn::FloatArray> ReadNpz(const std::filesystem::path& path, const std::string& name);

}  // namespace atelier::cli
