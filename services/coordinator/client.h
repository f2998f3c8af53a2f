// Clients of the coordinator: runs (people), fleet (trainers), registry (everyone).
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/coordinator.pb.h"
#include "atelier/v1/fleet_service.pb.h"
#include "atelier/v1/registry.pb.h"
#include "common/rpc/cancellation.h"
#include "common/rpc/channel.h"
#include "common/rpc/retry.h"

namespace atelier::coordinator {

// All clients here are thread-safe; every unary call has a deadline; calls that are idempotent (by
// nature or by request_id) are retried on UNAVAILABLE. A call's request_id is made by the client.

class RunClient {
 public:
  static std::unique_ptr<RunClient> Create(std::shared_ptr<grpc::Channel> channel);
  virtual ~RunClient() = default;

  virtual absl::StatusOr<v1::SubmitRunResponse> Submit(const v1::RunPlan& plan) = 0;
  // Calls `on_event` in order until the run ended (OK), `on_event` returns false (CANCELLED) or an
  // error that reconnecting with the last event number did not cure for `patience`.
  virtual absl::Status Watch(const std::string& run_id, int64_t after_event,
                             const std::function<bool(const v1::RunEvent&)>& on_event,
                             std::chrono::milliseconds patience = std::chrono::seconds(60)) = 0;
  virtual absl::StatusOr<v1::Run> Cancel(const std::string& run_id, const std::string& reason) = 0;
  virtual absl::StatusOr<v1::Run> Resume(const std::string& run_id) = 0;
  virtual absl::StatusOr<v1::Run> Get(const std::string& run_id) = 0;
  virtual absl::StatusOr<v1::ListRunsResponse> List() = 0;
  virtual absl::Status InspectDataset(
      const v1::DescribeDatasetRequest& request,
      const std::function<void(const v1::DescribeDatasetResponse&)>& on_part) = 0;
  virtual absl::StatusOr<v1::PreviewResponse> PreviewDataset(const v1::PreviewRequest& request) = 0;
};

// The trainer's end of the work stream. Send and Receive may be called from two threads.
class WorkStream {
 public:
  virtual ~WorkStream() = default;
  // False when the stream is broken; then Finish says why.
  virtual bool Send(const v1::TrainerMessage& message) = 0;
  // Blocks; nothing when the stream ended.
  virtual std::optional<v1::CoordinatorMessage> Receive() = 0;
  virtual void Cancel() = 0;  // any thread
  virtual absl::Status Finish() = 0;
};

class FleetClient {
 public:
  // `cancellation` (may be null) ends the calls that are no streams.
  static std::unique_ptr<FleetClient> Create(
      std::shared_ptr<grpc::Channel> channel,
      std::shared_ptr<rpc::Cancellation> cancellation = nullptr);
  virtual ~FleetClient() = default;

  virtual std::unique_ptr<WorkStream> OpenWork() = 0;
  virtual absl::Status CommitCheckpoint(v1::CommitCheckpointRequest request) = 0;
  virtual absl::Status FinishTask(v1::FinishTaskRequest request) = 0;
  virtual absl::StatusOr<v1::ListFleetResponse> ListFleet() = 0;
};

// Asks until a data-service is registered: without one a plan is refused, and after the
// coordinator's start they come back within a third of its lease. `waiting` is called once, when
// the first answer is that there is none. FailedPrecondition: nor is there any at the last of the
// policy's attempts, or `sleep` returned false. Errors of ListFleet end it at once.
absl::Status AwaitDataService(FleetClient& fleet, const rpc::RetryPolicy& policy,
                              const rpc::Sleeper& sleep, const std::function<void()>& waiting = {});

class RegistryClient {
 public:
  // `cancellation` (may be null) ends all calls, downloads too, but no watch.
  static std::unique_ptr<RegistryClient> Create(
      std::shared_ptr<grpc::Channel> channel,
      std::shared_ptr<rpc::Cancellation> cancellation = nullptr);
  virtual ~RegistryClient() = default;

  // Returns the digest.
  virtual absl::StatusOr<std::string> PutBytes(std::string_view bytes) = 0;
  virtual absl::StatusOr<std::string> PutFile(const std::filesystem::path& path) = 0;
  // Verifies the digest of what arrived (DataLoss).
  virtual absl::StatusOr<std::string> GetBytes(const std::string& digest) = 0;
  virtual absl::Status GetFile(const std::string& digest, const std::filesystem::path& path) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& digest) = 0;

  virtual absl::StatusOr<v1::EnsembleVersion> Publish(const v1::EnsembleVersion& ensemble,
                                                      bool promote) = 0;
  virtual absl::StatusOr<v1::PromotedEnsemble> Promote(const std::string& name, int version) = 0;
  virtual absl::StatusOr<v1::EnsembleVersion> GetEnsemble(const std::string& name, int version) = 0;
  virtual absl::StatusOr<v1::ListEnsemblesResponse> ListEnsembles(const std::string& name) = 0;
  // Calls `on_promoted` for the current one and each later promotion as long as the watch lives;
  // reconnects by itself.
  class PromotedWatch {
   public:
    virtual ~PromotedWatch() = default;  // cancels and joins
  };
  virtual std::unique_ptr<PromotedWatch> WatchPromoted(
      const std::string& name, std::function<void(const v1::PromotedEnsemble&)> on_promoted) = 0;
};

}  // namespace atelier::coordinator
