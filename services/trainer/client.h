// Client of a trainer's predictions.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "atelier/v1/trainer_service.pb.h"
#include "common/rpc/channel.h"

namespace atelier::trainer {

// One PredictStream to one trainer, opened at the first request and again after it broke.
// Thread-safe: several requests may be in flight.
class PredictClient {
 public:
  using Done = std::function<void(absl::StatusOr<v1::Matrix>)>;

  static std::unique_ptr<PredictClient> Create(std::shared_ptr<grpc::Channel> channel);
  // Fails what is in flight with Cancelled and returns once no other thread is in a callback. Of
  // its callbacks only one that brings an answer may destroy it.
  virtual ~PredictClient() = default;

  // `request.id` and `request.timeout_ms` are set here. `done` is called exactly once, on another
  // thread: with the answer, the request's own error, DEADLINE_EXCEEDED, or, when the stream broke,
  // ABORTED if it had carried answers (every connection comes of age; over a new one the request
  // may be answered) and UNAVAILABLE if not.
  virtual void Predict(v1::PredictRequest request, std::chrono::steady_clock::time_point deadline,
                       Done done) = 0;
};

}  // namespace atelier::trainer
