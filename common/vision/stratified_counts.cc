#include "common/vision/stratified_counts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <utility>

namespace atelier::vision {
namespace {

// numpy.random.RandomState.permutation(n): Fisher-Yates from the end, masked rejection.
std::vector<size_t> NumpyPermutation(size_t n, std::mt19937* engine) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n; i-- > 1;) {
    uint32_t mask = static_cast<uint32_t>(i);
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    uint32_t j = 0;
    do {
      j = static_cast<uint32_t>((*engine)()) & mask;
    } while (j > i);
    std::swap(order[i], order[j]);
  }
  return order;
}

// sklearn.utils.extmath._approximate_mode.
std::vector<int64_t> ApproximateMode(std::span<const int64_t> counts, int64_t draws,
                                     std::mt19937* engine) {
  const double total =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  std::vector<int64_t> taken(counts.size());
  std::map<double, std::vector<size_t>, std::greater<>> by_remainder;
  int64_t missing = draws;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double share = static_cast<double>(counts[i]) / total * static_cast<double>(draws);
    taken[i] = static_cast<int64_t>(std::floor(share));
    missing -= taken[i];
    by_remainder[share - std::floor(share)].push_back(i);
  }
  for (const auto& [remainder, classes] : by_remainder) {
    if (missing <= 0) break;
    const auto order = NumpyPermutation(classes.size(), engine);
    const size_t now = std::min(classes.size(), static_cast<size_t>(missing));
    for (size_t i = 0; i < now; ++i) ++taken[classes[order[i]]];
    missing -= static_cast<int64_t>(now);
  }
  return taken;
}

}  // namespace

StratifiedCounts StratifyCounts(std::span<const int64_t> class_counts, int64_t training,
                                int64_t validation, uint32_t seed) {
  std::mt19937 engine(seed);
  StratifiedCounts counts;
  counts.training = ApproximateMode(class_counts, training, &engine);
  std::vector<int64_t> rest(class_counts.begin(), class_counts.end());
  for (size_t i = 0; i < rest.size(); ++i) rest[i] -= counts.training[i];
  counts.validation = ApproximateMode(rest, validation, &engine);
  return counts;
}

}  // namespace atelier::vision
