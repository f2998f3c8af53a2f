#include "common/vision/cutmix.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace atelier::vision {
namespace {

// Gamma(shape, 1) by Marsaglia and Tsang (2000); below 1 through Gamma(shape + 1) * U^(1/shape).
double Gamma(double shape, CounterRng* rng) {
  if (shape < 1) return Gamma(shape + 1, rng) * std::pow(1.0 - rng->Uniform(), 1.0 / shape);
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = rng->Normal();
    const double v = std::pow(1.0 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1.0 - rng->Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

int UniformIndex(int n, CounterRng* rng) {
  return static_cast<int>(rng->UniformInt(static_cast<uint32_t>(n)));
}

}  // namespace

absl::Status ValidateCutMix(const v1::CutMixSpec& spec) {
  if (!v1::CutMixSpec::Variant_IsValid(spec.variant())) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cutmix.variant: expected OFF, NOTEBOOK or TIMM, found %d", spec.variant()));
  }
  if (!(spec.alpha() >= 0 && spec.alpha() <= 100)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cutmix.alpha: expected 0..100, found %g", spec.alpha()));
  }
  if (!(spec.probability() >= 0 && spec.probability() <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cutmix.probability: expected 0..1, found %g", spec.probability()));
  }
  if (spec.off_after_epoch() < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cutmix.off_after_epoch: expected 0 (never) or an epoch, found %d",
                        spec.off_after_epoch()));
  }
  return absl::OkStatus();
}

bool CutMixActive(const v1::CutMixSpec& spec, uint32_t epoch) {
  if (spec.variant() == v1::CutMixSpec::OFF) return false;
  return spec.off_after_epoch() <= 0 || epoch < static_cast<uint32_t>(spec.off_after_epoch());
}

CutMixDraw DrawCutMix(const v1::CutMixSpec& spec, int height, int width, uint64_t seed,
                      uint32_t epoch, uint32_t sample) {
  if (!CutMixActive(spec, epoch)) return {};
  if (spec.probability() > 0 && spec.probability() < 1 &&
      CounterRng(seed, epoch, sample, RandomOp::kCutMixApply).Uniform() >= spec.probability()) {
    return {};
  }
  CounterRng rng(seed, epoch, sample, RandomOp::kCutMixBox);
  if (spec.variant() == v1::CutMixSpec::NOTEBOOK) {
    return NotebookBox(std::clamp(SymmetricBeta(1, &rng), 0.2, 0.8), height, width, &rng);
  }
  return TimmBox(SymmetricBeta(spec.alpha() > 0 ? spec.alpha() : 1, &rng), height, width, &rng);
}

CutMixDraw NotebookBox(double r, int height, int width, CounterRng* rng) {
  const int side = static_cast<int>((std::min(height, width) - 1) * r);
  if (side <= 0) return {};
  const int top = UniformIndex(height - side + 1, rng);
  const int left = UniformIndex(width - side + 1, rng);
  return {true, {top, left, side, side}, r * r};
}

CutMixDraw TimmBox(double lambda, int height, int width, CounterRng* rng) {
  const double ratio = std::sqrt(1.0 - lambda);
  const int half_height = static_cast<int>(height * ratio) / 2;
  const int half_width = static_cast<int>(width * ratio) / 2;
  const int row = UniformIndex(height, rng);
  const int col = UniformIndex(width, rng);
  const int top = std::clamp(row - half_height, 0, height);
  const int left = std::clamp(col - half_width, 0, width);
  const Box box{top, left, std::clamp(row + half_height, 0, height) - top,
                std::clamp(col + half_width, 0, width) - left};
  if (box.height == 0 || box.width == 0) return {};
  const double area = static_cast<double>(box.height) * box.width;
  return {true, box, area / (static_cast<double>(height) * width)};
}

double SymmetricBeta(double alpha, CounterRng* rng) {
  if (alpha == 1) return rng->Uniform();
  const double a = Gamma(alpha, rng);
  const double b = Gamma(alpha, rng);
  return a + b > 0 ? a / (a + b) : 0.5;
}

void MixLabel(double weight, int partner_class, std::span<float> own) {
  for (float& value : own) value = static_cast<float>(value * (1.0 - weight));
  if (partner_class < 0) return;
  float& partner = own[static_cast<size_t>(partner_class)];
  partner = static_cast<float>(partner + weight);
}

}  // namespace atelier::vision
