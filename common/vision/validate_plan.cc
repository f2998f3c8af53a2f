#include <string>

#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/vision/augment.h"
#include "common/vision/batch.h"
#include "common/vision/cutmix.h"

namespace atelier::vision {
namespace {

absl::Status OutOfRange(const char* field, const char* expected, double found) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %s, found %g", field, expected, found));
}

}  // namespace

absl::Status ValidateDataPlan(const v1::DataPlan& plan) {
  if (plan.batch_size() < 1 || plan.batch_size() > 1024) {
    return OutOfRange("batch_size", "1..1024", plan.batch_size());
  }
  if (plan.image().size() < 16 || plan.image().size() > 1024) {
    return OutOfRange("image.size", "16..1024", plan.image().size());
  }
  const int channels = plan.image().channels();
  if (channels != 0 && channels != 1 && channels != 3) {
    return OutOfRange("image.channels", "3 (RGB), 1 (grey) or 0 (RGB)", channels);
  }
  if (!v1::ResizeFilter_IsValid(plan.image().filter())) {
    return OutOfRange("image.filter", "NEAREST, BILINEAR or AREA", plan.image().filter());
  }
  if (!v1::Subset_IsValid(plan.subset()) || plan.subset() == v1::SUBSET_UNSPECIFIED) {
    return OutOfRange("subset", "TRAINING, VALIDATION, ALL_LABELED or TEST", plan.subset());
  }
  const double fraction = plan.split().validation_fraction();
  if (!(fraction >= 0 && fraction <= 0.9)) {
    return OutOfRange("split.validation_fraction", "0..0.9", fraction);
  }
  ATELIER_RETURN_IF_ERROR(ValidateAugmentation(plan.augmentation()));
  return ValidateCutMix(plan.cutmix());
}

}  // namespace atelier::vision
