#include "common/vision/batch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/vision/augment.h"
#include "common/vision/cutmix.h"
#include "common/vision/guarded.h"

namespace atelier::vision {
namespace {

int Channels(const v1::DataPlan& plan) {
  return plan.image().channels() == 0 ? 3 : plan.image().channels();
}

absl::StatusOr<std::shared_ptr<const Image>> Fetch(const v1::DataPlan& plan, uint32_t sample,
                                                   const SampleAccessor& accessor) {
  absl::StatusOr<std::shared_ptr<const Image>> image = accessor(sample);
  if (!image.ok()) return Annotate(image.status(), absl::StrCat("sample ", sample));
  const int size = plan.image().size();
  const Image& found = **image;
  if (found.height != size || found.width != size || found.channels != Channels(plan)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "sample %d: expected %dx%dx%d pixels as the plan says, found %dx%dx%d", sample, size, size,
        Channels(plan), found.height, found.width, found.channels));
  }
  return image;
}

absl::StatusOr<int32_t> ClassOf(const LabelView& labels, uint32_t sample) {
  if (labels.classes == 0) return -1;
  if (sample >= labels.class_of_sample.size() || labels.class_of_sample[sample] >= labels.classes) {
    return absl::FailedPreconditionError(
        absl::StrFormat("sample %d has no class among the plan's %d", sample, labels.classes));
  }
  return labels.class_of_sample[sample];
}

absl::Status CheckStep(const EpochPlan& epoch_plan, int32_t step) {
  if (step >= 0 && step < epoch_plan.steps()) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrFormat("step %d: the epoch has steps 0..%d", step, epoch_plan.steps() - 1));
}

absl::Status PastePartner(const v1::DataPlan& plan, uint32_t epoch, uint32_t partner,
                          const CutMixDraw& draw, const LabelView& labels,
                          const SampleAccessor& accessor, uint8_t* pixels, std::span<float> label) {
  ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<const Image> image,
                           Fetch(plan, partner, accessor));
  const AugmentParams params =
      DrawAugmentation(plan.augmentation(), image->height, image->width,
                       StreamSeed(plan.seed(), SampleStream::kPartner), epoch, partner);
  // Only the box is ever computed of the partner.
  const int64_t stride = int64_t{image->width} * image->channels;
  AugmentBox(*image, params, draw.box,
             pixels + draw.box.top * stride + int64_t{draw.box.left} * image->channels, stride);
  ATELIER_ASSIGN_OR_RETURN(const int32_t partner_class, ClassOf(labels, partner));
  MixLabel(draw.partner_weight, partner_class, label);
  return absl::OkStatus();
}

absl::StatusOr<AssembledBatch> Assemble(const v1::DataPlan& plan, const EpochPlan& epoch_plan,
                                        int32_t step, const LabelView& labels,
                                        const SampleAccessor& accessor) {
  ATELIER_RETURN_IF_ERROR(CheckStep(epoch_plan, step));
  const std::span<const uint32_t> samples = epoch_plan.Step(step);
  AssembledBatch batch;
  batch.size = static_cast<int32_t>(samples.size());
  batch.height = batch.width = plan.image().size();
  batch.channels = Channels(plan);
  const size_t picture = static_cast<size_t>(batch.height) * static_cast<size_t>(batch.width) *
                         static_cast<size_t>(batch.channels);
  const size_t classes = static_cast<size_t>(labels.classes);
  batch.pixels.resize(samples.size() * picture);
  batch.labels.resize(samples.size() * classes);
  batch.sample_ids.assign(samples.begin(), samples.end());
  for (size_t place = 0; place < samples.size(); ++place) {
    ATELIER_RETURN_IF_ERROR(
        AssembleSlot(plan, epoch_plan, step, place, labels, accessor,
                     reinterpret_cast<uint8_t*>(batch.pixels.data()) + place * picture,
                     batch.labels.data() + place * classes));
  }
  return batch;
}

}  // namespace

absl::Status AssembleSlot(const v1::DataPlan& plan, const EpochPlan& epoch_plan, int32_t step,
                          size_t place, const LabelView& labels, const SampleAccessor& accessor,
                          uint8_t* pixels, float* label) {
  ATELIER_RETURN_IF_ERROR(CheckStep(epoch_plan, step));
  const std::span<const uint32_t> samples = epoch_plan.Step(step);
  if (place >= samples.size()) {
    return absl::OutOfRangeError(
        absl::StrFormat("place %d: the step has %d samples", place, samples.size()));
  }
  const uint32_t sample = samples[place];
  ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<const Image> image, Fetch(plan, sample, accessor));
  Augment(*image,
          DrawAugmentation(plan.augmentation(), image->height, image->width, plan.seed(),
                           epoch_plan.epoch(), sample),
          pixels);

  const std::span<float> row(label, static_cast<size_t>(labels.classes));
  std::fill(row.begin(), row.end(), 0.0F);
  ATELIER_ASSIGN_OR_RETURN(const int32_t own_class, ClassOf(labels, sample));
  if (own_class >= 0) row[static_cast<size_t>(own_class)] = 1.0F;

  const std::span<const uint32_t> partners = epoch_plan.Partners(step);
  if (partners.empty()) return absl::OkStatus();
  const CutMixDraw draw = DrawCutMix(plan.cutmix(), image->height, image->width, plan.seed(),
                                     epoch_plan.epoch(), sample);
  if (!draw.apply) return absl::OkStatus();
  return PastePartner(plan, epoch_plan.epoch(), partners[place], draw, labels, accessor, pixels,
                      row);
}

absl::StatusOr<AssembledBatch> AssembleBatch(const v1::DataPlan& plan, const EpochPlan& epoch_plan,
                                             int32_t step, const LabelView& labels,
                                             const SampleAccessor& accessor) {
  return Guarded("assemble the batch",
                 [&] { return Assemble(plan, epoch_plan, step, labels, accessor); });
}

}  // namespace atelier::vision
