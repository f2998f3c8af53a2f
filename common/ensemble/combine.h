// Combining members' probabilities. Pure functions; thread-safe.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::ensemble {

// Float32, row-major [rows, columns]; each row a probability distribution.
struct Probabilities {
  int rows = 0;
  int columns = 0;
  std::vector<float> values;

  std::span<const float> row(int i) const {
    return {values.data() + static_cast<size_t>(i) * columns, static_cast<size_t>(columns)};
  }
};

// InvalidArgument when the bytes are not rows * columns floats, or a dimension is negative.
absl::StatusOr<Probabilities> FromMatrix(const v1::Matrix& matrix);
v1::Matrix ToMatrix(const Probabilities& probabilities);

// The arithmetic mean over the members, element by element: the members are added in the order
// given, in double, and divided once, so that equal inputs in equal order give equal bits.
// InvalidArgument when there is no member or the shapes differ.
absl::StatusOr<Probabilities> Mean(std::span<const Probabilities> members);

// Index of the greatest value; the lower index wins a tie. -1 for an empty row.
int ArgMax(std::span<const float> row);

}  // namespace atelier::ensemble
