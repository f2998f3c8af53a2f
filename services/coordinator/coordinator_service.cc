#include "services/coordinator/coordinator_service.h"

#include <utility>

#include "common/base/status.h"
#include "common/rpc/unary.h"
#include "services/coordinator/plan.h"
#include "services/coordinator/pull_stream.h"

namespace atelier::coordinator {
namespace {

// What a watcher has seen; used by one pull at a time.
struct WatchCursor {
  int64_t event = 0;
  int64_t progress = 0;
};

absl::StatusOr<Pulled<v1::RunEvent>> PullEvents(RunExecutor& executor, const std::string& run_id,
                                                WatchCursor& seen) {
  if (executor.notifier()->closed()) return absl::UnavailableError("draining; call again");
  ATELIER_ASSIGN_OR_RETURN(RunExecutor::News news,
                           executor.NewsAfter(run_id, seen.event, seen.progress));
  Pulled<v1::RunEvent> pulled;
  for (v1::RunEvent& event : news.events) {
    seen.event = event.number();
    pulled.messages.push_back(std::move(event));
  }
  for (v1::TaskProgress& progress : news.progress) {
    *pulled.messages.emplace_back().mutable_progress() = std::move(progress);
  }
  seen.progress = news.progress_seen;
  pulled.ended = news.ended;
  return pulled;
}

}  // namespace

absl::Status CoordinatorServiceImpl::AskDataService(const grpc::CallbackServerContext& context,
                                                    const Ask& ask) {
  const std::vector<std::string> addresses = executor_.DataAddresses();
  if (addresses.empty()) {
    return absl::FailedPreconditionError(
        "no data-service is registered; start atelier-data with --coordinator");
  }
  data::CallScope scope;
  scope.parent = &context;
  // "No deadline" arrives as one that is longer away than any sensible call.
  if (context.deadline() > std::chrono::system_clock::now() + std::chrono::hours(24)) {
    scope.timeout = imposed_deadline_;
  }
  absl::Status status;
  for (const std::string& address : addresses) {
    status = ask(*data::DataClient::Create(channels_->Connect(address)), scope);
    if (!absl::IsUnavailable(status)) return status;
  }
  return status;
}

absl::Status CoordinatorServiceImpl::Submit(const grpc::CallbackServerContext& context,
                                            const v1::SubmitRunRequest& request,
                                            v1::SubmitRunResponse& response) {
  const auto earlier = executor_.FindSubmitted(request.request_id(), request.plan());
  if (earlier.ok()) {
    response.set_run_id(*earlier);
    ATELIER_ASSIGN_OR_RETURN(v1::Run run, executor_.Get(*earlier));
    *response.mutable_dataset() = std::move(*run.mutable_dataset());
    return absl::OkStatus();
  }
  if (!absl::IsNotFound(earlier.status())) return earlier.status();
  ATELIER_ASSIGN_OR_RETURN(v1::RunPlan plan, CompletePlan(request.plan()));
  v1::DatasetSummary summary;
  ATELIER_RETURN_IF_ERROR(AskDataService(context, [&](auto& client, auto& scope) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(
        data::DatasetDescription description,
        client.Describe(DescribeRequest(plan), [](const v1::DescribeProgress&) {}, scope));
    summary = std::move(description.summary);
    return absl::OkStatus();
  }));
  ATELIER_ASSIGN_OR_RETURN(plan, BindDataset(std::move(plan), summary));
  ATELIER_ASSIGN_OR_RETURN(*response.mutable_run_id(),
                           executor_.Submit(request.request_id(), request.plan(), plan, summary));
  *response.mutable_dataset() = std::move(summary);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::SubmitRun(grpc::CallbackServerContext* context,
                                                            const v1::SubmitRunRequest* request,
                                                            v1::SubmitRunResponse* response) {
  return rpc::RunUnary(context, relays_, [this, context, request, response] {
    return Submit(*context, *request, *response);
  });
}

grpc::ServerWriteReactor<v1::RunEvent>* CoordinatorServiceImpl::WatchRun(
    grpc::CallbackServerContext*, const v1::WatchRunRequest* request) {
  auto seen = std::make_shared<WatchCursor>();
  seen->event = request->after_event();
  const std::string& run_id = request->run_id();
  auto* stream = new PullStream<v1::RunEvent>(
      pool_, [this, run_id, seen] { return PullEvents(executor_, run_id, *seen); });
  stream->Hold(executor_.notifier()->Subscribe(run_id, [stream] { stream->Wake(); }));
  stream->Wake();
  return stream;
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::CancelRun(grpc::CallbackServerContext* context,
                                                            const v1::CancelRunRequest* request,
                                                            v1::Run* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    const std::string reason = request->reason().empty() ? "cancelled" : request->reason();
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.Cancel(request->run_id(), reason));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::ResumeRun(grpc::CallbackServerContext* context,
                                                            const v1::ResumeRunRequest* request,
                                                            v1::Run* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.Resume(request->run_id()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::GetRun(grpc::CallbackServerContext* context,
                                                         const v1::GetRunRequest* request,
                                                         v1::Run* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.Get(request->run_id()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::ListRuns(grpc::CallbackServerContext* context,
                                                           const v1::ListRunsRequest*,
                                                           v1::ListRunsResponse* response) {
  return rpc::RunUnary(context, pool_, [this, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.List());
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::DescribeDatasetResponse>* CoordinatorServiceImpl::InspectDataset(
    grpc::CallbackServerContext* context, const v1::DescribeDatasetRequest* request) {
  // The whole description is collected first: it is bounded by the manifest, which the data-service
  // holds in memory too.
  auto* stream = new PullStream<v1::DescribeDatasetResponse>(
      relays_,
      [this, context, asked = *request]() -> absl::StatusOr<Pulled<v1::DescribeDatasetResponse>> {
        Pulled<v1::DescribeDatasetResponse> pulled;
        pulled.ended = true;
        const auto collect = [&](const v1::DescribeProgress& progress) {
          *pulled.messages.emplace_back().mutable_progress() = progress;
        };
        ATELIER_RETURN_IF_ERROR(
            AskDataService(*context, [&](auto& client, auto& scope) -> absl::Status {
              pulled.messages.clear();
              ATELIER_ASSIGN_OR_RETURN(data::DatasetDescription description,
                                       client.Describe(asked, collect, scope));
              *pulled.messages.emplace_back().mutable_summary() = std::move(description.summary);
              constexpr int kPage = 2000;
              for (size_t i = 0; i < description.samples.size(); ++i) {
                if (i % kPage == 0) pulled.messages.emplace_back().mutable_manifest();
                *pulled.messages.back().mutable_manifest()->add_samples() =
                    std::move(description.samples[i]);
              }
              return absl::OkStatus();
            }));
        return pulled;
      });
  stream->Wake();
  return stream;
}

grpc::ServerUnaryReactor* CoordinatorServiceImpl::PreviewDataset(
    grpc::CallbackServerContext* context, const v1::PreviewRequest* request,
    v1::PreviewResponse* response) {
  return rpc::RunUnary(context, relays_, [this, context, request, response] {
    return AskDataService(*context, [&](auto& client, auto& scope) -> absl::Status {
      ATELIER_ASSIGN_OR_RETURN(*response, client.Preview(*request, scope));
      return absl::OkStatus();
    });
  });
}

}  // namespace atelier::coordinator
