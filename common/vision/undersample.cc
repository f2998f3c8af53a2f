#include "common/vision/undersample.h"

#include <algorithm>
#include <map>

#include "common/base/philox.h"

namespace atelier::vision {

std::vector<uint32_t> Undersample(std::span<const int32_t> classes, uint64_t seed) {
  std::map<int32_t, std::vector<uint32_t>> members;
  for (uint32_t i = 0; i < classes.size(); ++i) members[classes[i]].push_back(i);
  size_t smallest = classes.size();
  for (const auto& [id, items] : members) smallest = std::min(smallest, items.size());

  std::vector<uint32_t> kept;
  kept.reserve(smallest * members.size());
  for (const auto& [id, items] : members) {
    const auto order = Permutation(static_cast<uint32_t>(items.size()), seed,
                                   static_cast<uint32_t>(id), RandomOp::kUndersample);
    for (size_t i = 0; i < smallest; ++i) kept.push_back(items[order[i]]);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

}  // namespace atelier::vision
