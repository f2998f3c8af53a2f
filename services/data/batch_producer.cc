#include "services/data/batch_producer.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/limits.h"
#include "common/vision/guarded.h"
#include "common/vision/resize.h"
#include "common/vision/split.h"

namespace atelier::data {
namespace {

static_assert(std::endian::native == std::endian::little, "digests are over little-endian numbers");

std::string BatchDigest(const vision::AssembledBatch& batch) {
  Sha256 hash;
  hash.Update(batch.pixels);
  hash.Update(
      {reinterpret_cast<const char*>(batch.labels.data()), batch.labels.size() * sizeof(float)});
  hash.Update({reinterpret_cast<const char*>(batch.sample_ids.data()),
               batch.sample_ids.size() * sizeof(uint32_t)});
  return hash.FinishHex();
}

// A batch is one message.
absl::Status CheckMessageBytes(const v1::DataPlan& plan, int64_t classes) {
  const int64_t side = plan.image().size();
  const int64_t bytes =
      rpc::BatchMessageBytes(plan.batch_size(), side * side * plan.image().channels(), classes);
  if (bytes <= rpc::kPictureReceiveBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("plan.batch_size: a batch of ", plan.batch_size(),
                                                 " pictures of ", side, " px and labels of ",
                                                 classes, " classes takes ", bytes, " bytes, ",
                                                 rpc::kPictureReceiveBytes, " fit into a message"));
}

int ChannelsOf(const v1::ImageSpec& image) { return image.channels() == 0 ? 3 : image.channels(); }

}  // namespace

BatchProducer::BatchProducer(Catalog& catalog, PictureCache& cache,
                             std::shared_ptr<const Dataset> dataset, const v1::DataPlan& plan,
                             vision::EpochPlan epoch_plan)
    : catalog_(catalog),
      cache_(cache),
      dataset_(std::move(dataset)),
      plan_(plan),
      epoch_plan_(std::move(epoch_plan)) {}

absl::StatusOr<std::shared_ptr<BatchProducer>> BatchProducer::Create(
    Catalog& catalog, PictureCache& cache, std::shared_ptr<const Dataset> dataset,
    const v1::DataPlan& asked, int epoch) {
  v1::DataPlan plan = asked;
  plan.mutable_image()->set_channels(ChannelsOf(plan.image()));
  ATELIER_RETURN_IF_ERROR(vision::ValidateDataPlan(plan));
  if (epoch < 0) return absl::InvalidArgumentError("epoch is negative");
  const size_t classes = plan.subset() == v1::TEST ? 0 : dataset->classes.size();
  ATELIER_RETURN_IF_ERROR(CheckMessageBytes(plan, static_cast<int64_t>(classes)));
  ATELIER_ASSIGN_OR_RETURN(
      const std::vector<uint32_t> samples,
      vision::SelectSubset(dataset->class_of_sample, plan.subset(), plan.split()));
  if (samples.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the subset ", v1::Subset_Name(plan.subset()), " has no samples"));
  }
  vision::EpochPlan epoch_plan(samples, plan, static_cast<uint32_t>(epoch));
  return std::shared_ptr<BatchProducer>(
      new BatchProducer(catalog, cache, std::move(dataset), plan, std::move(epoch_plan)));
}

int64_t BatchProducer::batch_bytes() const {
  return int64_t{plan_.batch_size()} * plan_.image().size() * plan_.image().size() *
         plan_.image().channels();
}

absl::StatusOr<std::shared_ptr<const vision::Image>> BatchProducer::Picture(uint32_t sample) const {
  const v1::ImageSpec& image = plan_.image();
  const std::string key = absl::StrCat(dataset_->samples[sample].sha256(), "/", image.size(), "/",
                                       static_cast<int>(image.filter()), "/", image.channels());
  return cache_.Get(key, [&]() -> absl::StatusOr<vision::Image> {
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes, catalog_.ReadSample(*dataset_, sample));
    ATELIER_ASSIGN_OR_RETURN(const vision::Image decoded,
                             vision::DecodePicture(bytes, image.channels(), catalog_.limits()));
    return vision::Resize(decoded, image);
  });
}

absl::StatusOr<v1::Batch> BatchProducer::Produce(int step) const {
  const bool labeled = plan_.subset() != v1::TEST;
  const vision::LabelView labels{dataset_->class_of_sample,
                                 labeled ? static_cast<int32_t>(dataset_->classes.size()) : 0};
  return vision::Guarded("make a batch", [&]() -> absl::StatusOr<v1::Batch> {
    ATELIER_ASSIGN_OR_RETURN(
        vision::AssembledBatch assembled,
        vision::AssembleBatch(plan_, epoch_plan_, step, labels,
                              [this](uint32_t sample) { return Picture(sample); }));
    v1::Batch batch;
    batch.set_epoch(static_cast<int>(epoch_plan_.epoch()));
    batch.set_step(step);
    batch.set_steps_in_epoch(steps());
    batch.set_size(assembled.size);
    batch.set_height(assembled.height);
    batch.set_width(assembled.width);
    batch.set_channels(assembled.channels);
    batch.set_digest(BatchDigest(assembled));
    batch.set_pixels(std::move(assembled.pixels));
    *batch.mutable_labels() = {assembled.labels.begin(), assembled.labels.end()};
    *batch.mutable_sample_ids() = {assembled.sample_ids.begin(), assembled.sample_ids.end()};
    return batch;
  });
}

}  // namespace atelier::data
