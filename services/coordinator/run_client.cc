#include <unistd.h>

#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "atelier/v1/coordinator.grpc.pb.h"
#include "common/base/status.h"
#include "services/coordinator/client.h"
#include "services/coordinator/client_calls.h"

namespace atelier::coordinator {

std::string NewRequestId() {
  static const uint64_t process = [] {
    std::random_device random;
    return (uint64_t{random()} << 32) | random();
  }();
  static std::atomic<uint64_t> counter{0};
  return absl::StrFormat("%016x-%d-%d", process, ::getpid(), counter.fetch_add(1));
}

namespace {

// Describing hashes every file of a dataset.
constexpr std::chrono::minutes kDescribeTimeout{30};
constexpr std::chrono::milliseconds kReconnectPause{500};

class RunClientImpl final : public RunClient {
 public:
  explicit RunClientImpl(std::shared_ptr<grpc::Channel> channel)
      : stub_(v1::CoordinatorService::NewStub(std::move(channel))) {}

  absl::StatusOr<v1::SubmitRunResponse> Submit(const v1::RunPlan& plan) override {
    v1::SubmitRunRequest request;
    request.set_request_id(NewRequestId());
    *request.mutable_plan() = plan;
    v1::SubmitRunResponse response;
    ATELIER_RETURN_IF_ERROR(CallWithRetry(
        [&](grpc::ClientContext* context) { return stub_->SubmitRun(context, request, &response); },
        kDescribeTimeout));
    return response;
  }

  absl::Status Watch(const std::string& run_id, int64_t after_event,
                     const std::function<bool(const v1::RunEvent&)>& on_event,
                     std::chrono::milliseconds patience) override {
    int64_t seen = after_event;
    auto last_heard = std::chrono::steady_clock::now();
    while (true) {
      grpc::ClientContext context;
      v1::WatchRunRequest request;
      request.set_run_id(run_id);
      request.set_after_event(seen);
      auto reader = stub_->WatchRun(&context, request);
      v1::RunEvent event;
      while (reader->Read(&event)) {
        last_heard = std::chrono::steady_clock::now();
        if (event.number() > 0) seen = event.number();
        if (!on_event(event)) {
          context.TryCancel();
          while (reader->Read(&event)) {
          }
          reader->Finish();
          return absl::CancelledError("stopped watching");
        }
      }
      const absl::Status status = EndOfCall(reader->Finish());
      if (!absl::IsUnavailable(status)) return status;
      if (std::chrono::steady_clock::now() - last_heard > patience) return status;
      rpc::RealSleeper()(kReconnectPause);
    }
  }

  absl::StatusOr<v1::Run> Cancel(const std::string& run_id, const std::string& reason) override {
    v1::CancelRunRequest request;
    request.set_run_id(run_id);
    request.set_reason(reason);
    v1::Run run;
    ATELIER_RETURN_IF_ERROR(CallWithRetry(
        [&](grpc::ClientContext* context) { return stub_->CancelRun(context, request, &run); }));
    return run;
  }

  absl::StatusOr<v1::Run> Resume(const std::string& run_id) override {
    v1::ResumeRunRequest request;
    request.set_run_id(run_id);
    v1::Run run;
    ATELIER_RETURN_IF_ERROR(CallWithRetry(
        [&](grpc::ClientContext* context) { return stub_->ResumeRun(context, request, &run); }));
    return run;
  }

  absl::StatusOr<v1::Run> Get(const std::string& run_id) override {
    v1::GetRunRequest request;
    request.set_run_id(run_id);
    v1::Run run;
    ATELIER_RETURN_IF_ERROR(CallWithRetry(
        [&](grpc::ClientContext* context) { return stub_->GetRun(context, request, &run); }));
    return run;
  }

  absl::StatusOr<v1::ListRunsResponse> List() override {
    v1::ListRunsResponse response;
    ATELIER_RETURN_IF_ERROR(CallWithRetry(
        [&](grpc::ClientContext* context) { return stub_->ListRuns(context, {}, &response); }));
    return response;
  }

  absl::Status InspectDataset(
      const v1::DescribeDatasetRequest& request,
      const std::function<void(const v1::DescribeDatasetResponse&)>& on_part) override {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDescribeTimeout);
    auto reader = stub_->InspectDataset(&context, request);
    v1::DescribeDatasetResponse part;
    while (reader->Read(&part)) on_part(part);
    return rpc::FromGrpcStatus(reader->Finish());
  }

  absl::StatusOr<v1::PreviewResponse> PreviewDataset(const v1::PreviewRequest& request) override {
    v1::PreviewResponse response;
    ATELIER_RETURN_IF_ERROR(CallWithRetry([&](grpc::ClientContext* context) {
      return stub_->PreviewDataset(context, request, &response);
    }));
    return response;
  }

 private:
  const std::unique_ptr<v1::CoordinatorService::Stub> stub_;
};

}  // namespace

std::unique_ptr<RunClient> RunClient::Create(std::shared_ptr<grpc::Channel> channel) {
  return std::make_unique<RunClientImpl>(std::move(channel));
}

}  // namespace atelier::coordinator
