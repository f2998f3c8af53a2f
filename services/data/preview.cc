#include "services/data/preview.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/vision/decode.h"
#include "common/vision/guarded.h"
#include "services/data/batch_producer.h"

namespace atelier::data {
namespace {

constexpr int kMaxPreview = 64;

std::string Caption(const std::vector<std::string>& classes, const float* label) {
  std::string caption;
  for (size_t c = 0; c < classes.size(); ++c) {
    if (label[c] <= 0) continue;
    if (label[c] >= 0.999F) return classes[c];
    absl::StrAppendFormat(&caption, "%s%s %.2f", caption.empty() ? "" : " + ", classes[c],
                          label[c]);
  }
  return caption;
}

vision::Image PictureOf(const v1::Batch& batch, int i) {
  vision::Image image = vision::Image::Make(batch.height(), batch.width(), batch.channels());
  std::copy_n(
      batch.pixels().begin() + static_cast<int64_t>(i) * static_cast<int64_t>(image.pixels.size()),
      image.pixels.size(), image.pixels.begin());
  return image;
}

absl::Status Make(Catalog& catalog, PictureCache& cache, const v1::PreviewRequest& request,
                  v1::PreviewResponse& response, const StopCheck& stop) {
  const int wanted = request.sample_ids().empty() ? request.count() : request.sample_ids_size();
  if (wanted < 1 || wanted > kMaxPreview) {
    return absl::InvalidArgumentError(
        absl::StrCat("count is ", wanted, "; allowed: 1..", kMaxPreview));
  }
  ATELIER_ASSIGN_OR_RETURN(const auto dataset, catalog.Find(request.plan(), stop));
  ATELIER_ASSIGN_OR_RETURN(
      const auto producer,
      BatchProducer::Create(catalog, cache, dataset, request.plan(), request.epoch()));
  const auto add_plain = [&](uint32_t id) -> absl::Status {
    ATELIER_RETURN_IF_ERROR(stop());
    if (id >= dataset->samples.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample_ids: ", id, " of ", dataset->samples.size()));
    }
    ATELIER_ASSIGN_OR_RETURN(const auto picture, producer->Picture(id));
    ATELIER_ASSIGN_OR_RETURN(std::string png, vision::EncodePng(*picture));
    v1::EncodedPicture& out = *response.add_pictures();
    out.set_png(std::move(png));
    const int label = dataset->class_of_sample[id];
    out.set_caption(label < 0 ? dataset->samples[id].file()
                              : dataset->classes[static_cast<size_t>(label)]);
    return absl::OkStatus();
  };
  for (const uint32_t id : request.sample_ids()) ATELIER_RETURN_IF_ERROR(add_plain(id));
  for (int step = 0; response.pictures_size() < wanted && step < producer->steps(); ++step) {
    ATELIER_RETURN_IF_ERROR(stop());
    ATELIER_ASSIGN_OR_RETURN(const v1::Batch batch, producer->Produce(step));
    for (int i = 0; i < batch.size() && response.pictures_size() < wanted; ++i) {
      if (request.plain()) {
        ATELIER_RETURN_IF_ERROR(add_plain(batch.sample_ids(i)));
        continue;
      }
      ATELIER_ASSIGN_OR_RETURN(std::string png, vision::EncodePng(PictureOf(batch, i)));
      v1::EncodedPicture& out = *response.add_pictures();
      out.set_png(std::move(png));
      if (batch.labels_size() > 0) {
        const size_t classes = dataset->classes.size();
        out.set_caption(
            Caption(dataset->classes, batch.labels().data() + static_cast<size_t>(i) * classes));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MakePreview(Catalog& catalog, PictureCache& cache, const v1::PreviewRequest& request,
                         v1::PreviewResponse& response, const StopCheck& stop) {
  return vision::Guarded("make the preview",
                         [&] { return Make(catalog, cache, request, response, stop); });
}

}  // namespace atelier::data
