// Handlers of TrainerService.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <set>

#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/concurrency/worker_pool.h"
#include "services/trainer/byte_budget.h"
#include "services/trainer/predictor_cache.h"

namespace atelier::trainer {

// Of requests that were read and not yet answered, of all streams together: gRPC's own quota does
// not count a message any more once it is parsed. Room for 32 of the largest.
inline constexpr int64_t kMaxWaitingBytes = int64_t{512} << 20;

// A request on its way to its answer.
struct PredictJob {
  v1::PredictRequest request;
  int64_t bytes = 0;  // of `request`; taken from the budget
  // Answered with DEADLINE_EXCEEDED when its turn comes later.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::function<bool()> abandoned;  // whether nobody awaits the answer any more; unset: never
  std::function<void(v1::PredictResponse)> done;  // once; on a thread of one of the pools
};

// A stream, as far as the service ends it.
class DrainedStream {
 public:
  // What was read is answered, then the stream ends with UNAVAILABLE.
  virtual void End() = 0;

 protected:
  ~DrainedStream() = default;
};

// Thread-safe. Forwards run on `inference` (one thread). Members that are missing are fetched and
// built on `loading` (one thread): a download stops nobody whose member is there.
class PredictServiceImpl final : public v1::TrainerService::CallbackService {
 public:
  // `loading` must be stopped before `inference`, for which its jobs may wait.
  PredictServiceImpl(PredictorCache& cache, WorkerPool& inference, WorkerPool& loading,
                     int64_t max_waiting_bytes = kMaxWaitingBytes)
      : cache_(cache), inference_(inference), loading_(loading), budget_(max_waiting_bytes) {}

  grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse>* PredictStream(
      grpc::CallbackServerContext* context) override;

  // Ends all streams, and those that begin later as soon as they begin. Does not wait for them.
  void Drain();
  // Every stream from its beginning to just before its destruction, without a lock of its own.
  // False: it has to end at once.
  bool Enter(DrainedStream& stream);
  void Leave(DrainedStream& stream);

  int64_t predictions() const { return predictions_; }
  ByteBudget& budget() { return budget_; }
  // What can be said of a request without its member.
  absl::Status Check(const v1::PredictRequest& request) const;
  // Never blocks. The request is gone, and its bytes are given back, before `done` is called.
  // False: too much waits, or this is shutting down; neither happens.
  bool Submit(const std::shared_ptr<PredictJob>& job);

 private:
  using LoadedPredictor = absl::StatusOr<std::shared_ptr<nn::Predictor>>;

  std::shared_ptr<nn::Predictor> Find(const PredictJob& job);
  bool SubmitLoad(const std::shared_ptr<PredictJob>& job);
  void Load(const std::shared_ptr<PredictJob>& job);
  void Answer(PredictJob& job, const LoadedPredictor& predictor);
  absl::StatusOr<v1::Matrix> Predict(const PredictJob& job, const LoadedPredictor& predictor);

  PredictorCache& cache_;
  WorkerPool& inference_;
  WorkerPool& loading_;
  ByteBudget budget_;
  std::atomic<int64_t> predictions_{0};
  Mutex streams_mutex_;
  std::set<DrainedStream*> streams_ ABSL_GUARDED_BY(streams_mutex_);
  bool draining_ ABSL_GUARDED_BY(streams_mutex_) = false;
};

}  // namespace atelier::trainer
