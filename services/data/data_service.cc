#include "services/data/data_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/unary.h"
#include "common/vision/guarded.h"
#include "services/data/batch_reactor.h"
#include "services/data/client.h"
#include "services/data/describe_reactor.h"
#include "services/data/preview.h"

namespace atelier::data {
StopCheck DataServiceImpl::StopOf(const grpc::CallbackServerContext* context) const {
  return [this, context]() -> absl::Status {
    if (context->IsCancelled()) return absl::CancelledError("cancelled");
    if (draining_) return absl::UnavailableError("shutting down; ask another data-service");
    return absl::OkStatus();
  };
}

grpc::ServerWriteReactor<v1::DescribeDatasetResponse>* DataServiceImpl::DescribeDataset(
    grpc::CallbackServerContext* context, const v1::DescribeDatasetRequest* request) {
  auto* reactor = new DescribeReactor(*context, describe_limit_);
  const bool accepted = handlers_.Submit([this, reactor, stop = StopOf(context), asked = *request] {
    reactor->End(vision::Guarded("describe the dataset", [&]() -> absl::Status {
      ATELIER_ASSIGN_OR_RETURN(
          const auto dataset,
          catalog_.Describe(
              asked, [&](int done, int total) { reactor->Progress(done, total); }, stop));
      v1::DescribeDatasetResponse part;
      ATELIER_ASSIGN_OR_RETURN(*part.mutable_summary(), Summarize(*dataset, asked.split()));
      reactor->Send(std::move(part));
      if (asked.want_manifest()) reactor->SendManifest(dataset);
      return absl::OkStatus();
    }));
  });
  if (!accepted)
    reactor->End(absl::UnavailableError("busy or shutting down; ask another data-service"));
  return reactor;
}

absl::StatusOr<std::shared_ptr<BatchWindow>> DataServiceImpl::OpenWindow(
    const v1::StreamBatchesRequest& request, const StopCheck& stop) {
  ATELIER_RETURN_IF_ERROR(stop());  // it may have waited for long behind others
  // The digest leaves the folder out. A window reads from its own, which may go before another of
  // equal content does.
  const std::string plan =
      absl::StrCat(DataPlanDigest(request.plan()), "/", request.plan().dataset());
  ATELIER_ASSIGN_OR_RETURN(
      auto window,
      windows_.Open(plan, request.epoch(), [&]() -> absl::StatusOr<std::shared_ptr<BatchProducer>> {
        ATELIER_ASSIGN_OR_RETURN(auto dataset, catalog_.Find(request.plan(), stop));
        return BatchProducer::Create(catalog_, cache_, std::move(dataset), request.plan(),
                                     request.epoch());
      }));
  if (request.first_step() < 0 || request.first_step() > window->steps()) {
    return absl::OutOfRangeError(absl::StrCat("first_step ", request.first_step(),
                                              ": the epoch has ", window->steps(), " steps"));
  }
  return window;
}

grpc::ServerWriteReactor<v1::Batch>* DataServiceImpl::StreamBatches(
    grpc::CallbackServerContext* context, const v1::StreamBatchesRequest* request) {
  auto* reactor = new BatchReactor;
  const bool accepted = handlers_.Submit([this, reactor, stop = StopOf(context), asked = *request] {
    auto window = vision::Guarded("open the batches", [&] { return OpenWindow(asked, stop); });
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

grpc::ServerUnaryReactor* DataServiceImpl::Preview(grpc::CallbackServerContext* context,
                                                   const v1::PreviewRequest* request,
                                                   v1::PreviewResponse* response) {
  return rpc::RunUnary(context, handlers_, [this, request, response, stop = StopOf(context)] {
    return MakePreview(catalog_, cache_, *request, *response, stop);
  });
}

}  // namespace atelier::data
