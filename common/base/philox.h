// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). A value is a pure function of a key, so nothing has to be saved to resume
// and every replica draws the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

namespace atelier {

// The ten-round block function. Known answers of the Random123 distribution are tested.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a random choice is for. Values are part of the data contract: never renumber.
enum class RandomOp : uint32_t {
  kUndersample = 1,
  kSplit = 2,
  kShuffle = 3,
  kHorizontalFlip = 4,
  kVerticalFlip = 5,
  kBrightness = 6,
  kAffine = 7,
  kCutMixShuffle = 8,
  kCutMixBox = 9,
  kCutMixApply = 10,
  kPreview = 11,
  kDropout = 12,
  kInitialise = 13,
  kBackoff = 14,
};

// A short stream of random numbers for one (seed, epoch, item, op). Not thread-safe; cheap to make.
class CounterRng {
 public:
  CounterRng(uint64_t seed, uint32_t epoch, uint32_t item, RandomOp op);

  uint32_t NextUint32();
  // Uniform in [0, 1) with 53 bits.
  double Uniform();
  // Uniform in [lo, hi).
  double Uniform(double lo, double hi) { return lo + (hi - lo) * Uniform(); }
  // Uniform integer in [0, n), n > 0; unbiased (rejection).
  uint32_t UniformInt(uint32_t n);
  // Standard normal (Box-Muller).
  double Normal();

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

// A permutation of 0..n-1 (Fisher-Yates over CounterRng(seed, epoch, 0, op)).
std::vector<uint32_t> Permutation(uint32_t n, uint64_t seed, uint32_t epoch, RandomOp op);

}  // namespace atelier
