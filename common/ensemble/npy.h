// NumPy's .npy format, version 1.0 (numpy.lib.format): the two kinds of array Atelier keeps,
// float32 [rows, columns] probabilities and int32 [n] labels, and arrays of any shape that people
// bring. Little-endian, C order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ensemble/combine.h"

namespace atelier::ensemble {

// Any array of numbers.
struct NpyArray {
  std::string type;  // "|u1", "<f4", "<f8", "<i4", "<i8"
  std::vector<int64_t> shape;
  std::string_view data;  // into the bytes parsed
};
// InvalidArgument: no .npy, another type, Fortran order, or data that do not fit the shape.
absl::StatusOr<NpyArray> ParseNpy(std::string_view bytes);
// float32; `values` in row-major order.
std::string ToNpy(const std::vector<int64_t>& shape, std::span<const float> values);

std::string ToNpy(const Probabilities& probabilities);
std::string ToNpy(std::span<const int> labels);

// InvalidArgument on anything else than what ToNpy writes or numpy.save of such an array.
absl::StatusOr<Probabilities> ProbabilitiesFromNpy(std::string_view bytes);
absl::StatusOr<std::vector<int>> LabelsFromNpy(std::string_view bytes);

}  // namespace atelier::ensemble
