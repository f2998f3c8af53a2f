#include "common/vision/split.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "common/base/philox.h"
#include "common/base/status.h"
#include "common/vision/stratified_counts.h"
#include "common/vision/undersample.h"

namespace atelier::vision {
namespace {

absl::Status CheckPlaces(int64_t training, int64_t validation, int64_t classes) {
  if (training >= classes && validation >= classes) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "the split leaves %d pictures for training and %d for validation, but each part needs at "
      "least one of each of the %d classes: change validation_fraction or add pictures",
      training, validation, classes));
}

// ids[i] for every i of items.
std::vector<uint32_t> Pick(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& items) {
  std::vector<uint32_t> picked;
  picked.reserve(items.size());
  for (const uint32_t item : items) picked.push_back(ids[item]);
  return picked;
}

std::vector<uint32_t> UsedSamples(std::span<const int32_t> class_of_sample,
                                  const v1::SplitSpec& spec) {
  std::vector<uint32_t> ids;
  std::vector<int32_t> classes;
  for (uint32_t id = 0; id < class_of_sample.size(); ++id) {
    if (class_of_sample[id] < 0) continue;
    ids.push_back(id);
    classes.push_back(class_of_sample[id]);
  }
  return spec.undersample() ? Pick(ids, Undersample(classes, spec.seed())) : ids;
}

}  // namespace

absl::StatusOr<Split> StratifiedSplit(std::span<const int32_t> classes, double fraction,
                                      uint64_t seed) {
  if (!(fraction >= 0 && fraction <= 0.9)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("split.validation_fraction: expected 0..0.9, found %g", fraction));
  }
  const int64_t n = static_cast<int64_t>(classes.size());
  std::vector<std::vector<uint32_t>> members;
  for (uint32_t i = 0; i < classes.size(); ++i) {
    const size_t id = static_cast<size_t>(classes[i]);
    if (id >= members.size()) members.resize(id + 1);
    members[id].push_back(i);
  }
  Split split;
  if (fraction == 0 || n == 0) {
    for (uint32_t i = 0; i < classes.size(); ++i) split.training.push_back(i);
    return split;
  }
  // sklearn looks at the classes that occur.
  std::erase_if(members, [](const auto& items) { return items.empty(); });
  std::vector<int64_t> counts;
  for (const auto& items : members) {
    if (items.size() < 2) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "a stratified split needs two pictures of every class, class %d has one: add pictures, "
          "drop the class, or set validation_fraction to 0",
          classes[items.front()]));
    }
    counts.push_back(static_cast<int64_t>(items.size()));
  }
  const int64_t validation = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(n)));
  ATELIER_RETURN_IF_ERROR(
      CheckPlaces(n - validation, validation, static_cast<int64_t>(members.size())));
  const StratifiedCounts parts =
      StratifyCounts(counts, n - validation, validation, static_cast<uint32_t>(seed));
  for (size_t k = 0; k < members.size(); ++k) {
    const auto& items = members[k];
    const auto order = Permutation(static_cast<uint32_t>(items.size()), seed,
                                   static_cast<uint32_t>(classes[items.front()]), RandomOp::kSplit);
    for (size_t i = 0; i < items.size(); ++i) {
      const bool kept = static_cast<int64_t>(i) < parts.validation[k];
      (kept ? split.validation : split.training).push_back(items[order[i]]);
    }
  }
  std::sort(split.training.begin(), split.training.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

absl::StatusOr<Composition> Compose(std::span<const int32_t> class_of_sample,
                                    const v1::SplitSpec& spec) {
  Composition composition;
  composition.used = UsedSamples(class_of_sample, spec);
  std::vector<int32_t> classes;
  classes.reserve(composition.used.size());
  for (const uint32_t id : composition.used) classes.push_back(class_of_sample[id]);
  ATELIER_ASSIGN_OR_RETURN(const Split split,
                           StratifiedSplit(classes, spec.validation_fraction(), spec.seed()));
  composition.training = Pick(composition.used, split.training);
  composition.validation = Pick(composition.used, split.validation);
  return composition;
}

absl::StatusOr<std::vector<uint32_t>> SelectSubset(std::span<const int32_t> class_of_sample,
                                                   v1::Subset subset, const v1::SplitSpec& spec) {
  if (subset == v1::TEST) {
    std::vector<uint32_t> ids;
    for (uint32_t id = 0; id < class_of_sample.size(); ++id) {
      if (class_of_sample[id] < 0) ids.push_back(id);
    }
    return ids;
  }
  if (subset == v1::ALL_LABELED) return UsedSamples(class_of_sample, spec);
  if (subset != v1::TRAINING && subset != v1::VALIDATION) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "subset: expected TRAINING, VALIDATION, ALL_LABELED or TEST, found %d", subset));
  }
  ATELIER_ASSIGN_OR_RETURN(Composition composition, Compose(class_of_sample, spec));
  return subset == v1::TRAINING ? std::move(composition.training)
                                : std::move(composition.validation);
}

}  // namespace atelier::vision
