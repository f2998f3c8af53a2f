// Reads ../shared/goldens: NumPy arrays, plain or inside an .npz.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>

namespace atelier::nn::testing {

std::filesystem::path SharedGoldens();

// uint8 or float32, C order. Throws std::runtime_error.
at::Tensor ReadNpy(const std::filesystem::path& path);
at::Tensor ReadNpz(const std::filesystem::path& path, const std::string& array);

// Runs build/bin/atelier-convert SRC --output OUT (only it may read HDF5). Throws when it fails.
void ConvertGolden(const std::filesystem::path& source, const std::filesystem::path& output);

}  // namespace atelier::nn::testing
