#include "common/vision/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/philox.h"
#include "common/vision/brightness.h"

namespace atelier::vision {
namespace {

absl::Status CheckRange(const char* field, double value, double max) {
  if (std::isfinite(value) && value >= 0 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("augmentation.%s: expected 0..%g, found %g", field, max, value));
}

AffineParams DrawAffine(const v1::AugmentationSpec& spec, int height, int width, uint64_t seed,
                        uint32_t epoch, uint32_t sample) {
  CounterRng rng(seed, epoch, sample, RandomOp::kAffine);
  // All six are drawn always and in this order: part of the data contract.
  const auto symmetric = [&rng](double range) { return range * rng.Uniform(-1.0, 1.0); };
  AffineParams params;
  params.theta_degrees = symmetric(spec.rotation_degrees());
  params.shift_rows = symmetric(spec.height_shift()) * height;
  params.shift_cols = symmetric(spec.width_shift()) * width;
  params.shear_degrees = symmetric(spec.shear_degrees());
  params.zoom_rows = 1 + symmetric(spec.zoom());
  params.zoom_cols = 1 + symmetric(spec.zoom());
  return params;
}

void CopyFlipped(const Image& in, const AugmentParams& params, const Box& box, uint8_t* out,
                 int64_t out_stride) {
  const int64_t channels = in.channels;
  const int64_t in_stride = in.width * channels;
  for (int row = 0; row < box.height; ++row) {
    const int64_t source = params.vertical_flip ? in.height - 1 - box.top - row : box.top + row;
    const uint8_t* line = in.pixels.data() + source * in_stride;
    uint8_t* to = out + row * out_stride;
    if (!params.horizontal_flip) {
      std::memcpy(to, line + box.left * channels, static_cast<size_t>(box.width * channels));
      continue;
    }
    const uint8_t* from = line + (in.width - 1 - box.left) * channels;
    for (int col = 0; col < box.width; ++col, from -= channels, to += channels) {
      for (int64_t c = 0; c < channels; ++c) to[c] = from[c];
    }
  }
}

void MoveBox(const Image& in, const AugmentParams& params, const Box& box, uint8_t* out,
             int64_t out_stride) {
  if (params.affine.IsIdentity()) {
    CopyFlipped(in, params, box, out, out_stride);
    return;
  }
  const AffineMatrix matrix =
      FlipOutput(MakeAffineMatrix(params.affine, in.height, in.width), in.height, in.width,
                 params.horizontal_flip, params.vertical_flip);
  WarpAffine(in, matrix, box, out, out_stride);
}

LevelRange WholeRange(const Image& in, const AugmentParams& params) {
  LevelRange range;
  if (params.affine.IsIdentity()) {
    ExtendRange(in.pixels.data(), static_cast<int64_t>(in.pixels.size()), &range);
    return range;
  }
  // A row at a time: the range is wanted, not the picture.
  static thread_local std::vector<uint8_t> line;
  const int64_t stride = int64_t{in.width} * in.channels;
  line.resize(static_cast<size_t>(stride));
  const AffineMatrix matrix = MakeAffineMatrix(params.affine, in.height, in.width);
  for (int row = 0; row < in.height; ++row) {
    WarpAffine(in, matrix, {row, 0, 1, in.width}, line.data(), stride);
    ExtendRange(line.data(), stride, &range);
  }
  return range;
}

}  // namespace

absl::Status ValidateAugmentation(const v1::AugmentationSpec& spec) {
  const struct {
    const char* field;
    double value;
    double max;
  } checks[] = {
      {"brightness_min", spec.brightness_min(), 10},
      {"brightness_max", spec.brightness_max(), 10},
      {"rotation_degrees", spec.rotation_degrees(), 180},
      {"shear_degrees", spec.shear_degrees(), 89},
      {"zoom", spec.zoom(), 0.9F},
      {"width_shift", spec.width_shift(), 1},
      {"height_shift", spec.height_shift(), 1},
  };
  for (const auto& check : checks) {
    const absl::Status status = CheckRange(check.field, check.value, check.max);
    if (!status.ok()) return status;
  }
  if (spec.brightness_min() > spec.brightness_max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("augmentation.brightness_min %g is above brightness_max %g",
                        spec.brightness_min(), spec.brightness_max()));
  }
  return absl::OkStatus();
}

uint64_t StreamSeed(uint64_t seed, SampleStream stream) {
  if (stream == SampleStream::kMain) return seed;
  const auto block = Philox4x32({0, 0, 0, static_cast<uint32_t>(stream)},
                                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return (uint64_t{block[1]} << 32) | block[0];
}

AugmentParams DrawAugmentation(const v1::AugmentationSpec& spec, int height, int width,
                               uint64_t seed, uint32_t epoch, uint32_t sample) {
  const auto coin = [&](RandomOp op) {
    return CounterRng(seed, epoch, sample, op).Uniform() < 0.5;
  };
  AugmentParams params;
  params.affine = DrawAffine(spec, height, width, seed, epoch, sample);
  params.horizontal_flip = spec.horizontal_flip() && coin(RandomOp::kHorizontalFlip);
  params.vertical_flip = spec.vertical_flip() && coin(RandomOp::kVerticalFlip);
  params.brightness = spec.brightness_max() > 0;
  if (params.brightness) {
    CounterRng rng(seed, epoch, sample, RandomOp::kBrightness);
    params.brightness_factor =
        static_cast<float>(rng.Uniform(spec.brightness_min(), spec.brightness_max()));
    params.brightness_stretch = spec.brightness_stretch();
  }
  return params;
}

void AugmentBox(const Image& in, const AugmentParams& params, const Box& box, uint8_t* out,
                int64_t out_stride) {
  MoveBox(in, params, box, out, out_stride);
  if (!params.brightness) return;
  const int64_t row_bytes = int64_t{box.width} * in.channels;
  if (!params.brightness_stretch) {
    for (int row = 0; row < box.height; ++row) {
      ScaleLevels(params.brightness_factor, out + row * out_stride, row_bytes);
    }
    return;
  }
  LevelRange range;
  if (box == Box{0, 0, in.height, in.width}) {
    for (int row = 0; row < box.height; ++row)
      ExtendRange(out + row * out_stride, row_bytes, &range);
  } else {
    range = WholeRange(in, params);
  }
  const LevelTable table = StretchedBrightnessTable(params.brightness_factor, range.min, range.max);
  for (int row = 0; row < box.height; ++row) ApplyTable(table, out + row * out_stride, row_bytes);
}

void Augment(const Image& in, const AugmentParams& params, uint8_t* out) {
  AugmentBox(in, params, {0, 0, in.height, in.width}, out, int64_t{in.width} * in.channels);
}

}  // namespace atelier::vision
