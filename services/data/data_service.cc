#include "services/data/data_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/rpc/unary.h"
#include "common/vision/decode.h"
#include "services/data/batch_reactor.h"
#include "services/data/client.h"
#include "services/data/describe_reactor.h"

namespace atelier::data {
namespace {

constexpr int kManifestPage = 2000;
constexpr int kMaxPreview = 64;

void SendManifest(const Dataset& dataset, DescribeReactor& reactor) {
  v1::DescribeDatasetResponse page;
  for (size_t i = 0; i < dataset.samples.size(); ++i) {
    *page.mutable_manifest()->add_samples() = dataset.samples[i];
    if (page.manifest().samples_size() == kManifestPage || i + 1 == dataset.samples.size()) {
      reactor.Send(std::move(page));
      page = {};
    }
  }
}

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

}  // namespace

grpc::ServerWriteReactor<v1::DescribeDatasetResponse>* DataServiceImpl::DescribeDataset(
    grpc::CallbackServerContext*, const v1::DescribeDatasetRequest* request) {
  auto* reactor = new DescribeReactor;
  const bool accepted = handlers_.Submit([this, reactor, asked = *request] {
    reactor->End([&]() -> absl::Status {
      ATELIER_ASSIGN_OR_RETURN(
          const auto dataset,
          catalog_.Describe(asked, [&](int done, int total) { reactor->Progress(done, total); }));
      v1::DescribeDatasetResponse part;
      ATELIER_ASSIGN_OR_RETURN(*part.mutable_summary(), Summarize(*dataset, asked.split()));
      reactor->Send(std::move(part));
      if (asked.want_manifest()) SendManifest(*dataset, *reactor);
      return absl::OkStatus();
    }());
  });
  if (!accepted)
    reactor->End(absl::UnavailableError("busy or shutting down; ask another data-service"));
  return reactor;
}

absl::StatusOr<std::shared_ptr<BatchWindow>> DataServiceImpl::OpenWindow(
    const v1::StreamBatchesRequest& request) {
  ATELIER_ASSIGN_OR_RETURN(
      auto window,
      windows_.Open(DataPlanDigest(request.plan()), request.epoch(),
                    [&]() -> absl::StatusOr<std::shared_ptr<BatchProducer>> {
                      ATELIER_ASSIGN_OR_RETURN(auto dataset, catalog_.Find(request.plan()));
                      return BatchProducer::Create(catalog_, cache_, std::move(dataset),
                                                   request.plan(), request.epoch());
                    }));
  if (request.first_step() < 0 || request.first_step() > window->steps()) {
    return absl::OutOfRangeError(absl::StrCat("first_step ", request.first_step(),
                                              ": the epoch has ", window->steps(), " steps"));
  }
  return window;
}

grpc::ServerWriteReactor<v1::Batch>* DataServiceImpl::StreamBatches(
    grpc::CallbackServerContext*, const v1::StreamBatchesRequest* request) {
  auto* reactor = new BatchReactor;
  const bool accepted = handlers_.Submit([this, reactor, asked = *request] {
    auto window = OpenWindow(asked);
    if (window.ok()) {
      reactor->Begin(*std::move(window), asked.first_step());
    } else {
      reactor->Fail(window.status());
    }
  });
  if (!accepted)
    reactor->Fail(absl::UnavailableError("busy or shutting down; ask another data-service"));
  return reactor;
}

absl::Status DataServiceImpl::MakePreview(const v1::PreviewRequest& request,
                                          v1::PreviewResponse& response) {
  const int wanted = request.sample_ids().empty() ? request.count() : request.sample_ids_size();
  if (wanted < 1 || wanted > kMaxPreview) {
    return absl::InvalidArgumentError(
        absl::StrCat("count is ", wanted, "; allowed: 1..", kMaxPreview));
  }
  ATELIER_ASSIGN_OR_RETURN(const auto dataset, catalog_.Find(request.plan()));
  ATELIER_ASSIGN_OR_RETURN(
      const auto producer,
      BatchProducer::Create(catalog_, cache_, dataset, request.plan(), request.epoch()));
  const auto add_plain = [&](uint32_t id) -> absl::Status {
    if (id >= dataset->samples.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample_ids: ", id, " of ", dataset->samples.size()));
    }
    ATELIER_ASSIGN_OR_RETURN(const auto picture, producer->Picture(id));
    v1::EncodedPicture& out = *response.add_pictures();
    out.set_png(vision::EncodePng(*picture));
    const int label = dataset->class_of_sample[id];
    out.set_caption(label < 0 ? dataset->samples[id].file()
                              : dataset->classes[static_cast<size_t>(label)]);
    return absl::OkStatus();
  };
  for (const uint32_t id : request.sample_ids()) ATELIER_RETURN_IF_ERROR(add_plain(id));
  for (int step = 0; response.pictures_size() < wanted && step < producer->steps(); ++step) {
    ATELIER_ASSIGN_OR_RETURN(const v1::Batch batch, producer->Produce(step));
    for (int i = 0; i < batch.size() && response.pictures_size() < wanted; ++i) {
      if (request.plain()) {
        ATELIER_RETURN_IF_ERROR(add_plain(batch.sample_ids(i)));
        continue;
      }
      v1::EncodedPicture& out = *response.add_pictures();
      out.set_png(vision::EncodePng(PictureOf(batch, i)));
      if (batch.labels_size() > 0) {
        const size_t classes = dataset->classes.size();
        out.set_caption(
            Caption(dataset->classes, batch.labels().data() + static_cast<size_t>(i) * classes));
      }
    }
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* DataServiceImpl::Preview(grpc::CallbackServerContext* context,
                                                   const v1::PreviewRequest* request,
                                                   v1::PreviewResponse* response) {
  return rpc::RunUnary(context, handlers_,
                       [this, request, response] { return MakePreview(*request, *response); });
}

}  // namespace atelier::data
