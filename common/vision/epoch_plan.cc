#include "common/vision/epoch_plan.h"

#include <algorithm>

#include "common/base/philox.h"
#include "common/vision/cutmix.h"

namespace atelier::vision {
namespace {

std::vector<uint32_t> Shuffled(std::span<const uint32_t> samples, uint64_t seed, uint32_t epoch,
                               RandomOp op) {
  std::vector<uint32_t> order = Permutation(static_cast<uint32_t>(samples.size()), seed, epoch, op);
  for (uint32_t& place : order) place = samples[place];
  return order;
}

}  // namespace

int32_t StepsInEpoch(size_t samples, int32_t batch_size) {
  const size_t batch = static_cast<size_t>(batch_size);
  return static_cast<int32_t>((samples + batch - 1) / batch);
}

EpochPlan::EpochPlan(std::span<const uint32_t> samples, const v1::DataPlan& plan, uint32_t epoch)
    : epoch_(epoch), batch_size_(std::max(1, plan.batch_size())) {
  order_ = plan.shuffle() ? Shuffled(samples, plan.seed(), epoch, RandomOp::kShuffle)
                          : std::vector<uint32_t>(samples.begin(), samples.end());
  if (CutMixActive(plan.cutmix(), epoch)) {
    partners_ = Shuffled(samples, plan.seed(), epoch, RandomOp::kCutMixShuffle);
  }
}

int32_t EpochPlan::steps() const { return StepsInEpoch(order_.size(), batch_size_); }

std::span<const uint32_t> EpochPlan::Step(int32_t step) const { return Slice(order_, step); }

std::span<const uint32_t> EpochPlan::Partners(int32_t step) const {
  return partners_.empty() ? std::span<const uint32_t>() : Slice(partners_, step);
}

std::span<const uint32_t> EpochPlan::Slice(const std::vector<uint32_t>& ids, int32_t step) const {
  const size_t batch = static_cast<size_t>(batch_size_);
  const size_t begin = std::min(ids.size(), static_cast<size_t>(step) * batch);
  return std::span<const uint32_t>(ids).subspan(begin, std::min(batch, ids.size() - begin));
}

}  // namespace atelier::vision
