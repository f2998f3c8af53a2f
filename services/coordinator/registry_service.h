// Handlers of RegistryService.
#pragma once

#include "atelier/v1/registry.grpc.pb.h"
#include "common/artifacts/artifact_store.h"
#include "common/concurrency/worker_pool.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {

// Thread-safe. Everything passed in must outlive it.
class RegistryServiceImpl final : public v1::RegistryService::CallbackService {
 public:
  // What waits for the syncs of uploads runs on `uploads`, so that nothing else waits behind it.
  RegistryServiceImpl(RunExecutor& executor, artifacts::ArtifactStore& store, WorkerPool& pool,
                      WorkerPool& uploads)
      : executor_(executor), store_(store), pool_(pool), uploads_(uploads) {}

  grpc::ServerReadReactor<v1::PutArtifactRequest>* PutArtifact(
      grpc::CallbackServerContext* context, v1::PutArtifactResponse* response) override;
  grpc::ServerWriteReactor<v1::GetArtifactResponse>* GetArtifact(
      grpc::CallbackServerContext* context, const v1::GetArtifactRequest* request) override;
  grpc::ServerUnaryReactor* StatArtifact(grpc::CallbackServerContext* context,
                                         const v1::StatArtifactRequest* request,
                                         v1::StatArtifactResponse* response) override;
  grpc::ServerUnaryReactor* PublishEnsemble(grpc::CallbackServerContext* context,
                                            const v1::PublishEnsembleRequest* request,
                                            v1::EnsembleVersion* response) override;
  grpc::ServerUnaryReactor* PromoteEnsemble(grpc::CallbackServerContext* context,
                                            const v1::PromoteEnsembleRequest* request,
                                            v1::PromotedEnsemble* response) override;
  grpc::ServerUnaryReactor* GetEnsemble(grpc::CallbackServerContext* context,
                                        const v1::GetEnsembleRequest* request,
                                        v1::EnsembleVersion* response) override;
  grpc::ServerUnaryReactor* ListEnsembles(grpc::CallbackServerContext* context,
                                          const v1::ListEnsemblesRequest* request,
                                          v1::ListEnsemblesResponse* response) override;
  grpc::ServerWriteReactor<v1::PromotedEnsemble>* WatchPromoted(
      grpc::CallbackServerContext* context, const v1::WatchPromotedRequest* request) override;

 private:
  RunExecutor& executor_;
  artifacts::ArtifactStore& store_;
  WorkerPool& pool_;
  WorkerPool& uploads_;
};

}  // namespace atelier::coordinator
