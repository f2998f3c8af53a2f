#include "common/nn/initializers.h"

#include <algorithm>
#include <cmath>

#include "common/base/philox.h"

namespace atelier::nn {
namespace {

// Standard deviation of a standard normal truncated to [-2, 2].
constexpr double kTruncatedStd = 0.87962566103423978;

struct Fans {
  double in = 1;
  double out = 1;
};

Fans ComputeFans(const std::vector<int64_t>& shape) {
  if (shape.size() < 2) {
    const double n = shape.empty() ? 1 : static_cast<double>(shape[0]);
    return {n, n};
  }
  double receptive = 1;
  for (size_t i = 0; i + 2 < shape.size(); ++i) receptive *= static_cast<double>(shape[i]);
  return {receptive * static_cast<double>(shape[shape.size() - 2]),
          receptive * static_cast<double>(shape.back())};
}

void FillTruncatedNormal(double variance, CounterRng& rng, std::span<float> values) {
  const double deviation = std::sqrt(variance) / kTruncatedStd;
  for (float& value : values) {
    double z = rng.Normal();
    while (std::abs(z) > 2) z = rng.Normal();
    value = static_cast<float>(deviation * z);
  }
}

}  // namespace

void FillInitial(Initializer initializer, const std::vector<int64_t>& keras_shape, uint64_t seed,
                 uint32_t index, std::span<float> values) {
  CounterRng rng(seed, 0, index, RandomOp::kInitialise);
  const Fans fans = ComputeFans(keras_shape);
  switch (initializer) {
    case Initializer::kZeros:
      std::fill(values.begin(), values.end(), 0.0f);
      return;
    case Initializer::kOnes:
      std::fill(values.begin(), values.end(), 1.0f);
      return;
    case Initializer::kGlorotUniform: {
      const double limit = std::sqrt(6.0 / (fans.in + fans.out));
      for (float& value : values) value = static_cast<float>(rng.Uniform(-limit, limit));
      return;
    }
    case Initializer::kHeNormal:
      return FillTruncatedNormal(2.0 / fans.in, rng, values);
    case Initializer::kFanOutNormal:
      return FillTruncatedNormal(2.0 / fans.out, rng, values);
  }
}

}  // namespace atelier::nn
