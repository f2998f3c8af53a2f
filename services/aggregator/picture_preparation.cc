#include "services/aggregator/picture_preparation.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/vision/grayscale.h"
#include "common/vision/guarded.h"
#include "common/vision/resize.h"

namespace atelier::aggregator {
namespace {

constexpr int kInputChannels = 3;

int64_t BytesOf(const v1::ImageSpec& spec) {
  return int64_t{spec.size()} * spec.size() * spec.channels();
}

v1::ImageSpec Normalized(const v1::ImageSpec& spec) {
  v1::ImageSpec normalized = spec;
  if (spec.filter() == v1::RESIZE_FILTER_UNSPECIFIED) normalized.set_filter(v1::AREA);
  if (spec.channels() == 0) normalized.set_channels(kInputChannels);
  return normalized;
}

bool Same(const v1::ImageSpec& a, const v1::ImageSpec& b) {
  return a.size() == b.size() && a.filter() == b.filter() && a.channels() == b.channels();
}

absl::Status CheckSides(const Pictures& pictures, const vision::DecodeLimits& limits) {
  if (pictures.height < 1 || pictures.width < 1) {
    return absl::InvalidArgumentError(absl::StrCat("pictures of ", pictures.height, " x ",
                                                   pictures.width, " pixels: sides start at 1"));
  }
  const int longer = std::max(pictures.height, pictures.width);
  const int shorter = std::min(pictures.height, pictures.width);
  if (longer > limits.max_side || int64_t{longer} * shorter > limits.max_pixels ||
      longer > limits.max_aspect * shorter) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "pictures of ", pictures.height, " x ", pictures.width, " pixels: at most ",
        limits.max_side, " a side, ", limits.max_pixels, " in all, aspect ", limits.max_aspect));
  }
  return absl::OkStatus();
}

vision::Image ImageOfPixels(const Pictures& pictures, int index) {
  vision::Image image = vision::Image::Make(pictures.height, pictures.width, kInputChannels);
  std::memcpy(image.pixels.data(),
              pictures.pixels.data() + image.pixels.size() * static_cast<size_t>(index),
              image.pixels.size());
  return image;
}

absl::StatusOr<vision::Image> DecodeOne(const Pictures& pictures, int index,
                                        const vision::DecodeLimits& limits) {
  if (pictures.height > 0) return ImageOfPixels(pictures, index);
  absl::StatusOr<vision::Image> image =
      vision::DecodePicture(pictures.encoded[static_cast<size_t>(index)], kInputChannels, limits);
  if (!image.ok()) return Annotate(image.status(), absl::StrCat("picture ", index));
  return image;
}

absl::Status Prepare(const Pictures& pictures, int index, const PreparationPlan& plan,
                     const std::vector<std::shared_ptr<Pixels>>& room,
                     const vision::DecodeLimits& limits) {
  ATELIER_ASSIGN_OR_RETURN(const vision::Image image, DecodeOne(pictures, index, limits));
  for (size_t s = 0; s < plan.specs.size(); ++s) {
    const v1::ImageSpec& spec = plan.specs[s];
    // Grey is taken before the resize, as training does (DecodePicture with one channel).
    const vision::Image resized =
        vision::Resize(spec.channels() == 1 ? vision::ToGrayscale(image) : image, spec);
    const size_t bytes = static_cast<size_t>(BytesOf(spec));
    if (resized.pixels.size() != bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("picture ", index, " cannot be resized to ", spec.size(), " pixels"));
    }
    std::memcpy(room[s]->bytes.data() + bytes * static_cast<size_t>(index), resized.pixels.data(),
                bytes);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t Pictures::payload_bytes() const {
  int64_t bytes = static_cast<int64_t>(pixels.size());
  for (const std::string_view picture : encoded) bytes += static_cast<int64_t>(picture.size());
  return bytes;
}

int64_t PreparationPlan::bytes_per_picture() const {
  int64_t bytes = 0;
  for (const v1::ImageSpec& spec : specs) bytes += BytesOf(spec);
  return bytes;
}

int64_t PreparationPlan::bytes_per_picture(size_t i) const {
  return BytesOf(specs[spec_of_member[i]]);
}

PreparationPlan PlanPreparation(const std::vector<const v1::EnsembleMember*>& members) {
  PreparationPlan plan;
  for (const v1::EnsembleMember* member : members) {
    const v1::ImageSpec spec = Normalized(member->model().image());
    size_t i = 0;
    while (i < plan.specs.size() && !Same(plan.specs[i], spec)) ++i;
    if (i == plan.specs.size()) plan.specs.push_back(spec);
    plan.spec_of_member.push_back(i);
  }
  return plan;
}

absl::Status CheckPictures(const Pictures& pictures, int max_pictures,
                           const vision::DecodeLimits& limits) {
  if (pictures.count < 1) {
    return absl::InvalidArgumentError("an empty batch: send at least one picture");
  }
  if (pictures.count > max_pictures) {
    return absl::ResourceExhaustedError(absl::StrCat(pictures.count, " pictures; at most ",
                                                     max_pictures, " a request: send several"));
  }
  if (pictures.height == 0 && pictures.width == 0) {
    if (pictures.encoded.size() == static_cast<size_t>(pictures.count)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", pictures.count, " pictures, found ", pictures.encoded.size()));
  }
  ATELIER_RETURN_IF_ERROR(CheckSides(pictures, limits));
  const int64_t expected =
      int64_t{pictures.count} * pictures.height * pictures.width * kInputChannels;
  if (static_cast<int64_t>(pictures.pixels.size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("pixels [", pictures.count, ", ", pictures.height, ", ", pictures.width,
                     ", 3] take ", expected, " bytes, found ", pictures.pixels.size()));
  }
  return absl::OkStatus();
}

std::vector<std::shared_ptr<Pixels>> MakeRoom(const PreparationPlan& plan, int count) {
  std::vector<std::shared_ptr<Pixels>> room;
  for (const v1::ImageSpec& spec : plan.specs) {
    auto pixels = std::make_shared<Pixels>();
    pixels->count = count;
    pixels->size = spec.size();
    pixels->channels = spec.channels();
    pixels->bytes.resize(static_cast<size_t>(BytesOf(spec) * count));
    room.push_back(std::move(pixels));
  }
  return room;
}

absl::Status PreparePicture(const Pictures& pictures, int index, const PreparationPlan& plan,
                            const std::vector<std::shared_ptr<Pixels>>& room,
                            const vision::DecodeLimits& limits) {
  return vision::Guarded(absl::StrCat("prepare picture ", index),
                         [&] { return Prepare(pictures, index, plan, room, limits); });
}

}  // namespace atelier::aggregator
