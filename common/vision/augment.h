// The random changes of one training picture: draw all parameters, then apply them together.
//
// Order (RECIPE): one affine, horizontal and vertical flip, brightness. The affine and the flips
// are one warp; brightness is one more pass.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "atelier/v1/data_plan.pb.h"
#include "common/vision/affine.h"
#include "common/vision/image.h"

namespace atelier::vision {

struct AugmentParams {
  AffineParams affine;
  bool horizontal_flip = false;
  bool vertical_flip = false;
  bool brightness = false;
  float brightness_factor = 1;
  bool brightness_stretch = false;
};

// InvalidArgument names the field and its range: brightness 0 <= min <= max <= 10, rotation 0..180,
// shear 0..89, zoom 0..0.9, shifts 0..1; all finite.
absl::Status ValidateAugmentation(const v1::AugmentationSpec& spec);

// Stream 0 is the batch itself, stream 1 the CutMix partners: the same sample looks different
// there.
enum class SampleStream : uint32_t { kMain = 0, kPartner = 1 };

// Seed of a stream; the main stream's is the plan's own.
uint64_t StreamSeed(uint64_t seed, SampleStream stream);

// Pure function of its arguments (Philox keyed by seed, epoch, sample, operation): switching one
// operation on or off changes no other's draw.
AugmentParams DrawAugmentation(const v1::AugmentationSpec& spec, int height, int width,
                               uint64_t seed, uint32_t epoch, uint32_t sample);

// Writes `box` of the augmented picture (same size and channels as `in`); layout of `out` as in
// WarpAffine. With brightness_stretch the range is the whole picture's, whatever the box.
void AugmentBox(const Image& in, const AugmentParams& params, const Box& box, uint8_t* out,
                int64_t out_stride);

// The whole picture: height * width * channels bytes to `out`. Pure; thread-safe.
void Augment(const Image& in, const AugmentParams& params, uint8_t* out);

}  // namespace atelier::vision
