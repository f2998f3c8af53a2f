// Handlers of FleetService.
#pragma once

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/concurrency/worker_pool.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {

// Thread-safe. Everything passed in must outlive it.
class FleetServiceImpl final : public v1::FleetService::CallbackService {
 public:
  // `slow` does what reads or writes large files; the renewals of leases do not wait for it.
  FleetServiceImpl(RunExecutor& executor, WorkerPool& pool, WorkerPool& slow)
      : executor_(executor), pool_(pool), slow_(slow) {}

  grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage>* Work(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* CommitCheckpoint(grpc::CallbackServerContext* context,
                                             const v1::CommitCheckpointRequest* request,
                                             v1::CommitCheckpointResponse* response) override;
  grpc::ServerUnaryReactor* FinishTask(grpc::CallbackServerContext* context,
                                       const v1::FinishTaskRequest* request,
                                       v1::FinishTaskResponse* response) override;
  grpc::ServerUnaryReactor* RegisterDataService(grpc::CallbackServerContext* context,
                                                const v1::RegisterDataServiceRequest* request,
                                                v1::RegisterDataServiceResponse* response) override;
  grpc::ServerUnaryReactor* ListFleet(grpc::CallbackServerContext* context,
                                      const v1::ListFleetRequest* request,
                                      v1::ListFleetResponse* response) override;

 private:
  RunExecutor& executor_;
  WorkerPool& pool_;
  WorkerPool& slow_;
};

// "host:port" as others reach it: an address without host (":7072") gets the call's peer's. Peers
// are written by gRPC as "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711" or "inproc:…". Pure.
std::string CompleteAddress(const std::string& address, const std::string& peer);

}  // namespace atelier::coordinator
