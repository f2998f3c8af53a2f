// Handlers of DataService: convert in, one domain call, convert status out.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "atelier/v1/data_service.grpc.pb.h"
#include "common/concurrency/worker_pool.h"
#include "services/data/batch_window.h"
#include "services/data/catalog.h"
#include "services/data/picture_cache.h"

namespace atelier::data {

// Thread-safe. Everything passed in must outlive it.
class DataServiceImpl final : public v1::DataService::CallbackService {
 public:
  // `describe_limit`: the longest that a description may take, its client's reading included.
  DataServiceImpl(Catalog& catalog, PictureCache& cache, WindowRoom& windows, WorkerPool& handlers,
                  std::chrono::milliseconds describe_limit)
      : catalog_(catalog),
        cache_(cache),
        windows_(windows),
        handlers_(handlers),
        describe_limit_(describe_limit) {}

  // From now on what describes a dataset or wants to ends with UNAVAILABLE, for it may last longer
  // than any grace; streams that have begun go on.
  void Drain() { draining_ = true; }

  grpc::ServerWriteReactor<v1::DescribeDatasetResponse>* DescribeDataset(
      grpc::CallbackServerContext* context, const v1::DescribeDatasetRequest* request) override;
  grpc::ServerWriteReactor<v1::Batch>* StreamBatches(
      grpc::CallbackServerContext* context, const v1::StreamBatchesRequest* request) override;
  grpc::ServerUnaryReactor* Preview(grpc::CallbackServerContext* context,
                                    const v1::PreviewRequest* request,
                                    v1::PreviewResponse* response) override;

 private:
  absl::StatusOr<std::shared_ptr<BatchWindow>> OpenWindow(const v1::StreamBatchesRequest& request,
                                                          const StopCheck& stop);
  // Says whether this call's work is of no use any more: its client has left, or we are leaving.
  StopCheck StopOf(const grpc::CallbackServerContext* context) const;

  Catalog& catalog_;
  PictureCache& cache_;
  WindowRoom& windows_;
  WorkerPool& handlers_;
  const std::chrono::milliseconds describe_limit_;
  std::atomic<bool> draining_{false};
};

}  // namespace atelier::data
