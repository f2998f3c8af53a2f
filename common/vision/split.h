// Stratified split, and which samples a data plan's subset has.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/data_plan.pb.h"

namespace atelier::vision {

struct Split {
  std::vector<uint32_t> training;    // items, ascending
  std::vector<uint32_t> validation;  // items, ascending
};

// `classes[i]` is the class of item i, 0..k-1. Counts per class are those of scikit-learn's
// train_test_split(test_size=fraction, stratify=classes, random_state=seed), ties included (it
// breaks them with numpy's MT19937; seeds from 2^32 on use their low half there). Which members go
// where comes from Philox. fraction 0: everything is for training.
// InvalidArgument: fraction outside 0..0.9. FailedPrecondition: a class with one member, or fewer
// places in a part than classes (the message says the numbers). Pure; thread-safe.
absl::StatusOr<Split> StratifiedSplit(std::span<const int32_t> classes, double fraction,
                                      uint64_t seed);

struct Composition {
  std::vector<uint32_t> used;        // labelled samples after undersampling, ascending ids
  std::vector<uint32_t> training;    // ids
  std::vector<uint32_t> validation;  // ids
};

// `class_of_sample[id]` is the class of a manifest's sample, -1 for none. Undersamples when asked,
// then splits.
absl::StatusOr<Composition> Compose(std::span<const int32_t> class_of_sample,
                                    const v1::SplitSpec& spec);

// Ids of the subset, ascending. TEST: the samples with class -1. ALL_LABELED: after undersampling
// when asked. SUBSET_UNSPECIFIED is InvalidArgument.
absl::StatusOr<std::vector<uint32_t>> SelectSubset(std::span<const int32_t> class_of_sample,
                                                   v1::Subset subset, const v1::SplitSpec& spec);

}  // namespace atelier::vision
