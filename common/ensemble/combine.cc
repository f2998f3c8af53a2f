#include "common/ensemble/combine.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace atelier::ensemble {

absl::StatusOr<Probabilities> FromMatrix(const v1::Matrix& matrix) {
  if (matrix.rows() < 0 || matrix.columns() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("matrix of ", matrix.rows(), " x ", matrix.columns(), ": negative"));
  }
  const size_t count = static_cast<size_t>(matrix.rows()) * static_cast<size_t>(matrix.columns());
  if (matrix.data().size() != count * sizeof(float)) {
    return absl::InvalidArgumentError(
        absl::StrCat("matrix of ", matrix.rows(), " x ", matrix.columns(), " float32 needs ",
                     count * sizeof(float), " bytes, has ", matrix.data().size()));
  }
  Probabilities result{matrix.rows(), matrix.columns(), std::vector<float>(count)};
  std::memcpy(result.values.data(), matrix.data().data(), matrix.data().size());
  return result;
}

v1::Matrix ToMatrix(const Probabilities& probabilities) {
  v1::Matrix matrix;
  matrix.set_rows(probabilities.rows);
  matrix.set_columns(probabilities.columns);
  matrix.set_data(probabilities.values.data(), probabilities.values.size() * sizeof(float));
  return matrix;
}

absl::StatusOr<Probabilities> Mean(std::span<const Probabilities> members) {
  if (members.empty()) return absl::InvalidArgumentError("no member to combine");
  const Probabilities& first = members.front();
  for (const Probabilities& member : members) {
    if (member.rows != first.rows || member.columns != first.columns ||
        member.values.size() != first.values.size()) {
      return absl::InvalidArgumentError(absl::StrCat("members differ in shape: ", first.rows, " x ",
                                                     first.columns, " and ", member.rows, " x ",
                                                     member.columns));
    }
  }
  Probabilities mean{first.rows, first.columns, std::vector<float>(first.values.size())};
  const double count = static_cast<double>(members.size());
  for (size_t i = 0; i < mean.values.size(); ++i) {
    double sum = 0;
    for (const Probabilities& member : members) sum += member.values[i];
    mean.values[i] = static_cast<float>(sum / count);
  }
  return mean;
}

int ArgMax(std::span<const float> row) {
  if (row.empty()) return -1;
  return static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
}

}  // namespace atelier::ensemble
