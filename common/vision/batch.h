// Batch assembling: decoded pictures in, one contiguous uint8 NHWC batch with soft labels out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/data_plan.pb.h"
#include "common/vision/epoch_plan.h"
#include "common/vision/image.h"

namespace atelier::vision {

// The decoded picture of a sample, resized to plan.image. May be called from several threads; a
// cache sits behind it.
using SampleAccessor = std::function<absl::StatusOr<std::shared_ptr<const Image>>(uint32_t sample)>;

struct AssembledBatch {
  int32_t size = 0;
  int32_t height = 0;
  int32_t width = 0;
  int32_t channels = 0;
  std::string pixels;                // size * height * width * channels bytes; v1::Batch.pixels
  std::vector<float> labels;         // size * classes, rows sum to 1; empty when classes is 0
  std::vector<uint32_t> sample_ids;  // main stream
};

// What the assembler needs to know of a data set beside the plan.
struct LabelView {
  std::span<const int32_t> class_of_sample;  // by sample id; -1: none, its label row is all zero
  int32_t classes = 0;                       // 0 (subset TEST): no labels
};

// InvalidArgument names the field out of range: batch_size 1..1024, image size 16..1024, channels
// 0, 1 or 3, filter known, subset set, split fraction 0..0.9, augmentation, cutmix.
absl::Status ValidateDataPlan(const v1::DataPlan& plan);

// Batch `step` of the epoch: every picture augmented, CutMix applied. Errors are the accessor's,
// with the sample's number before them; Internal never: a picture of another shape than plan.image
// says is FailedPrecondition. OutOfRange: no such step. ResourceExhausted: not enough memory, the
// accessor's exceptions included. Pure given the accessor; thread-safe.
absl::StatusOr<AssembledBatch> AssembleBatch(const v1::DataPlan& plan, const EpochPlan& epoch_plan,
                                             int32_t step, const LabelView& labels,
                                             const SampleAccessor& accessor);

// One picture of it, `place` in the step: pixels to `pixels` (height*width*channels bytes) and the
// label to `label` (labels.classes floats). For assembling one batch with several threads.
absl::Status AssembleSlot(const v1::DataPlan& plan, const EpochPlan& epoch_plan, int32_t step,
                          size_t place, const LabelView& labels, const SampleAccessor& accessor,
                          uint8_t* pixels, float* label);

}  // namespace atelier::vision
