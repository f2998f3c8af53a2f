// How many members of every class a stratified split gives to each part: scikit-learn's rule.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace atelier::vision {

struct StratifiedCounts {
  std::vector<int64_t> training;    // by class
  std::vector<int64_t> validation;  // by class
};

// The mode of the multivariate hypergeometric distribution, as sklearn's StratifiedShuffleSplit
// takes it, first for training, then for validation out of the rest. Equal remainders are broken by
// numpy's RandomState(seed): this one MT19937 is there so that the counts are sklearn's to the last
// sample; nothing else uses it. training + validation draws must not exceed the members.
StratifiedCounts StratifyCounts(std::span<const int64_t> class_counts, int64_t training,
                                int64_t validation, uint32_t seed);

}  // namespace atelier::vision
