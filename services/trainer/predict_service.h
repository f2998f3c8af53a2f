// Handlers of TrainerService.
#pragma once

#include <atomic>

#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/concurrency/worker_pool.h"
#include "services/trainer/predictor_cache.h"

namespace atelier::trainer {

// Thread-safe. Forwards run on `inference` (one thread, so that answers keep the requests' order).
class PredictServiceImpl final : public v1::TrainerService::CallbackService {
 public:
  PredictServiceImpl(PredictorCache& cache, WorkerPool& inference)
      : cache_(cache), inference_(inference) {}

  grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse>* PredictStream(
      grpc::CallbackServerContext* context) override;

  int64_t predictions() const { return predictions_; }
  // On the inference thread.
  v1::PredictResponse Answer(const v1::PredictRequest& request);
  WorkerPool& inference() { return inference_; }

 private:
  absl::StatusOr<v1::Matrix> Predict(const v1::PredictRequest& request);

  PredictorCache& cache_;
  WorkerPool& inference_;
  std::atomic<int64_t> predictions_{0};
};

}  // namespace atelier::trainer
