// Adds up partial sums in a fixed order. Torch header (at::parallel_for).
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace atelier::nn::kernels {

// out[c] = sum of the rows of parts [rows][columns], first row first: the same for every number of
// threads. at::sum over the outer dimension of such a matrix is several times slower.
inline void SumRows(const float* parts, int64_t rows, int64_t columns, float* out) {
  at::parallel_for(0, columns, 1024, [&](int64_t begin, int64_t end) {
    std::copy(parts + begin, parts + end, out + begin);
    for (int64_t r = 1; r < rows; ++r) {
      const float* const row = parts + r * columns;
      for (int64_t i = begin; i < end; ++i) out[i] += row[i];
    }
  });
}

}  // namespace atelier::nn::kernels
