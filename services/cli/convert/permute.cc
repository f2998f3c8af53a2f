#include "services/cli/convert/permute.h"

#include <cstring>

namespace atelier::convert {

std::string PermuteFloat32(std::string_view bytes, const std::vector<int64_t>& shape,
                           const std::vector<int>& permutation) {
  const size_t rank = shape.size();
  std::vector<int64_t> strides(rank, 1);
  for (size_t d = rank; d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  std::vector<int64_t> sizes(rank);
  std::vector<int64_t> steps(rank);
  for (size_t d = 0; d < rank; ++d) {
    sizes[d] = shape[static_cast<size_t>(permutation[d])];
    steps[d] = strides[static_cast<size_t>(permutation[d])];
  }
  std::string out(bytes.size(), '\0');
  std::vector<int64_t> index(rank, 0);
  int64_t from = 0;
  const size_t elements = bytes.size() / sizeof(float);
  for (size_t i = 0; i < elements; ++i) {
    std::memcpy(out.data() + i * sizeof(float),
                bytes.data() + static_cast<size_t>(from) * sizeof(float), sizeof(float));
    for (size_t d = rank; d-- > 0;) {
      from += steps[d];
      if (++index[d] < sizes[d]) break;
      from -= steps[d] * sizes[d];
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace atelier::convert
