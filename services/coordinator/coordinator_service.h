// Handlers of CoordinatorService: convert in, one call, convert status out.
#pragma once

#include <chrono>
#include <memory>

#include "atelier/v1/coordinator.grpc.pb.h"
#include "common/concurrency/worker_pool.h"
#include "common/rpc/channel.h"
#include "services/coordinator/run_executor.h"
#include "services/data/client.h"

namespace atelier::coordinator {

// Thread-safe. Everything passed in must outlive it.
class CoordinatorServiceImpl final : public v1::CoordinatorService::CallbackService {
 public:
  // `relays`: for the calls that wait for a data-service. However many of these hang, everything
  // else goes on. `imposed_deadline`: theirs when the client brings none.
  CoordinatorServiceImpl(RunExecutor& executor, WorkerPool& pool, WorkerPool& relays,
                         std::shared_ptr<rpc::ChannelFactory> channels,
                         std::chrono::milliseconds imposed_deadline)
      : executor_(executor),
        pool_(pool),
        relays_(relays),
        channels_(std::move(channels)),
        imposed_deadline_(imposed_deadline) {}

  grpc::ServerUnaryReactor* SubmitRun(grpc::CallbackServerContext* context,
                                      const v1::SubmitRunRequest* request,
                                      v1::SubmitRunResponse* response) override;
  grpc::ServerWriteReactor<v1::RunEvent>* WatchRun(grpc::CallbackServerContext* context,
                                                   const v1::WatchRunRequest* request) override;
  grpc::ServerUnaryReactor* CancelRun(grpc::CallbackServerContext* context,
                                      const v1::CancelRunRequest* request,
                                      v1::Run* response) override;
  grpc::ServerUnaryReactor* ResumeRun(grpc::CallbackServerContext* context,
                                      const v1::ResumeRunRequest* request,
                                      v1::Run* response) override;
  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext* context,
                                   const v1::GetRunRequest* request, v1::Run* response) override;
  grpc::ServerUnaryReactor* ListRuns(grpc::CallbackServerContext* context,
                                     const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) override;
  grpc::ServerWriteReactor<v1::DescribeDatasetResponse>* InspectDataset(
      grpc::CallbackServerContext* context, const v1::DescribeDatasetRequest* request) override;
  grpc::ServerUnaryReactor* PreviewDataset(grpc::CallbackServerContext* context,
                                           const v1::PreviewRequest* request,
                                           v1::PreviewResponse* response) override;

 private:
  using Ask = std::function<absl::Status(data::DataClient& client, const data::CallScope& scope)>;

  absl::Status Submit(const grpc::CallbackServerContext& context,
                      const v1::SubmitRunRequest& request, v1::SubmitRunResponse& response);
  // Tries the registered data-services until one answers something else than UNAVAILABLE.
  absl::Status AskDataService(const grpc::CallbackServerContext& context, const Ask& ask);

  RunExecutor& executor_;
  WorkerPool& pool_;
  WorkerPool& relays_;
  const std::shared_ptr<rpc::ChannelFactory> channels_;
  const std::chrono::milliseconds imposed_deadline_;
};

}  // namespace atelier::coordinator
