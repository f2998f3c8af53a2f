#include <utility>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/client.h"
#include "services/coordinator/client_calls.h"

namespace atelier::coordinator {
namespace {

class WorkStreamImpl final : public WorkStream {
 public:
  explicit WorkStreamImpl(v1::FleetService::Stub& stub) : stream_(stub.Work(&context_)) {}
  ~WorkStreamImpl() override {
    context_.TryCancel();
    Finish().IgnoreError();
  }

  bool Send(const v1::TrainerMessage& message) override {
    MutexLock lock(write_mutex_);
    return !finished_ && stream_->Write(message);
  }
  std::optional<v1::CoordinatorMessage> Receive() override {
    v1::CoordinatorMessage message;
    if (!stream_->Read(&message)) return std::nullopt;
    return message;
  }
  void Cancel() override { context_.TryCancel(); }
  absl::Status Finish() override {
    MutexLock lock(write_mutex_);
    if (!finished_) {
      finished_ = true;
      stream_->WritesDone();
      status_ = rpc::FromGrpcStatus(stream_->Finish());
    }
    return status_;
  }

 private:
  grpc::ClientContext
      context_;  // a long stream: liveness is the lease's business, not a deadline's
  const std::unique_ptr<grpc::ClientReaderWriter<v1::TrainerMessage, v1::CoordinatorMessage>>
      stream_;
  Mutex write_mutex_;
  bool finished_ ABSL_GUARDED_BY(write_mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(write_mutex_);
};

class FleetClientImpl final : public FleetClient {
 public:
  FleetClientImpl(std::shared_ptr<grpc::Channel> channel,
                  std::shared_ptr<rpc::Cancellation> cancellation)
      : stub_(v1::FleetService::NewStub(std::move(channel))),
        cancellation_(std::move(cancellation)) {}

  std::unique_ptr<WorkStream> OpenWork() override {
    return std::make_unique<WorkStreamImpl>(*stub_);
  }

  absl::Status CommitCheckpoint(v1::CommitCheckpointRequest request) override {
    if (request.request_id().empty()) request.set_request_id(NewRequestId());
    v1::CommitCheckpointResponse response;
    return Retry([&](grpc::ClientContext* context) {
      return stub_->CommitCheckpoint(context, request, &response);
    });
  }

  absl::Status FinishTask(v1::FinishTaskRequest request) override {
    if (request.request_id().empty()) request.set_request_id(NewRequestId());
    v1::FinishTaskResponse response;
    return Retry([&](grpc::ClientContext* context) {
      return stub_->FinishTask(context, request, &response);
    });
  }

  absl::StatusOr<v1::ListFleetResponse> ListFleet() override {
    v1::ListFleetResponse response;
    ATELIER_RETURN_IF_ERROR(Retry(
        [&](grpc::ClientContext* context) { return stub_->ListFleet(context, {}, &response); }));
    return response;
  }

 private:
  template <typename Call>
  absl::Status Retry(const Call& call, std::chrono::milliseconds timeout = kCallTimeout) {
    return CallWithRetry(call, timeout, cancellation_.get());
  }

  const std::unique_ptr<v1::FleetService::Stub> stub_;
  const std::shared_ptr<rpc::Cancellation> cancellation_;
};

}  // namespace

absl::Status AwaitDataService(FleetClient& fleet, const rpc::RetryPolicy& policy,
                              const rpc::Sleeper& sleep, const std::function<void()>& waiting) {
  absl::Status failed;
  bool told = false;
  const absl::Status found = rpc::RetryUnavailable(policy, sleep, [&]() -> absl::Status {
    const absl::StatusOr<v1::ListFleetResponse> listed = fleet.ListFleet();
    if (!listed.ok()) {
      failed = listed.status();
      return absl::OkStatus();  // it was tried again already
    }
    if (!listed->data_services().empty()) return absl::OkStatus();
    if (!told && waiting) waiting();
    told = true;
    return absl::UnavailableError("not yet");
  });
  if (!failed.ok() || found.ok()) return failed;
  return absl::FailedPreconditionError(
      "no data-service is registered; start atelier-data with --coordinator");
}

std::unique_ptr<FleetClient> FleetClient::Create(std::shared_ptr<grpc::Channel> channel,
                                                 std::shared_ptr<rpc::Cancellation> cancellation) {
  return std::make_unique<FleetClientImpl>(std::move(channel), std::move(cancellation));
}

}  // namespace atelier::coordinator
