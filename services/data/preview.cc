#include "services/data/preview.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/rpc/limits.h"
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

// They are one message.
absl::Status CheckMessageBytes(const v1::PreviewResponse& response, int wanted, int size) {
  const size_t bytes = response.ByteSizeLong();
  if (bytes <= size_t{rpc::kPictureReceiveBytes}) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "count: ", response.pictures_size(), " of the ", wanted, " pictures of ", size,
      " px already take ", bytes, " bytes, ", rpc::kPictureReceiveBytes,
      " fit into a message; ask for fewer at a time (count or sample_ids), or for smaller ones "
      "(plan.image.size)"));
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
  const auto add = [&](std::string png, std::string caption) {
    v1::EncodedPicture& out = *response.add_pictures();
    out.set_png(std::move(png));
    out.set_caption(std::move(caption));
    return CheckMessageBytes(response, wanted, request.plan().image().size());
  };
  const auto add_plain = [&](uint32_t id) -> absl::Status {
    ATELIER_RETURN_IF_ERROR(stop());
    if (id >= dataset->samples.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample_ids: ", id, " of ", dataset->samples.size()));
    }
    ATELIER_ASSIGN_OR_RETURN(const auto picture, producer->Picture(id));
    ATELIER_ASSIGN_OR_RETURN(std::string png, vision::EncodePng(*picture));
    const int label = dataset->class_of_sample[id];
    return add(std::move(png), label < 0 ? dataset->samples[id].file()
                                         : dataset->classes[static_cast<size_t>(label)]);
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
      std::string caption;
      if (batch.labels_size() > 0) {
        const size_t classes = dataset->classes.size();
        caption =
            Caption(dataset->classes, batch.labels().data() + static_cast<size_t>(i) * classes);
      }
      ATELIER_RETURN_IF_ERROR(add(std::move(png), std::move(caption)));
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
