// Which sample is where in an epoch. Pure functions of (samples, plan, epoch).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "atelier/v1/data_plan.pb.h"

namespace atelier::vision {

// ceil(samples / batch_size); the last batch may be short. batch_size > 0.
int32_t StepsInEpoch(size_t samples, int32_t batch_size);

class EpochPlan {
 public:
  // `samples`: ids of the subset, ascending (SelectSubset). Keeps of `plan`: batch_size, seed,
  // shuffle, cutmix.
  EpochPlan(std::span<const uint32_t> samples, const v1::DataPlan& plan, uint32_t epoch);

  uint32_t epoch() const { return epoch_; }
  int32_t steps() const;
  // Main stream's samples of a step, 0 <= step < steps(); a view into this plan.
  std::span<const uint32_t> Step(int32_t step) const;
  // The samples at the same places of the second, independently shuffled stream; empty when CutMix
  // is off in this epoch. (Without shuffle the second stream is shuffled all the same.)
  std::span<const uint32_t> Partners(int32_t step) const;

 private:
  std::span<const uint32_t> Slice(const std::vector<uint32_t>& ids, int32_t step) const;

  uint32_t epoch_;
  int32_t batch_size_;
  std::vector<uint32_t> order_;
  std::vector<uint32_t> partners_;
};

}  // namespace atelier::vision
