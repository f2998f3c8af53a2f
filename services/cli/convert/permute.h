// Moves float32 tensors between Keras' and LibTorch's layouts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace atelier::convert {

// `bytes` holds prod(shape) float32 in C order. Dimension i of the result is dimension
// permutation[i] of the input.
std::string PermuteFloat32(std::string_view bytes, const std::vector<int64_t>& shape,
                           const std::vector<int>& permutation);

}  // namespace atelier::convert
