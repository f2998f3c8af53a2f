// NumPy's .npy format, version 1.0 (numpy.lib.format), for the two kinds of array Atelier keeps:
// float32 [rows, columns] probabilities and int32 [n] labels. Little-endian, C order.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ensemble/combine.h"

namespace atelier::ensemble {

std::string ToNpy(const Probabilities& probabilities);
std::string ToNpy(std::span<const int> labels);

// InvalidArgument on anything else than what ToNpy writes or numpy.save of such an array.
absl::StatusOr<Probabilities> ProbabilitiesFromNpy(std::string_view bytes);
absl::StatusOr<std::vector<int>> LabelsFromNpy(std::string_view bytes);

}  // namespace atelier::ensemble
