#include "common/base/philox.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace atelier {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t p1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

CounterRng::CounterRng(uint64_t seed, uint32_t epoch, uint32_t item, RandomOp op)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      counter_{0, epoch, item, static_cast<uint32_t>(op)} {}

uint32_t CounterRng::NextUint32() {
  if (used_ == 4) {
    block_ = Philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[static_cast<size_t>(used_++)];
}

double CounterRng::Uniform() {
  const uint64_t high = NextUint32() >> 5;
  const uint64_t low = NextUint32() >> 6;
  return static_cast<double>((high << 26) | low) * 0x1.0p-53;
}

uint32_t CounterRng::UniformInt(uint32_t n) {
  // Lemire's multiplication with rejection of the biased low part.
  uint64_t product = uint64_t{NextUint32()} * n;
  const uint32_t threshold = (0U - n) % n;
  while (static_cast<uint32_t>(product) < threshold) product = uint64_t{NextUint32()} * n;
  return static_cast<uint32_t>(product >> 32);
}

double CounterRng::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

std::vector<uint32_t> Permutation(uint32_t n, uint64_t seed, uint32_t epoch, RandomOp op) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  CounterRng rng(seed, epoch, 0, op);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.UniformInt(i)]);
  return order;
}

}  // namespace atelier
