// Client of the ensemble-aggregator (atelier.v1).
#pragma once

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "atelier/v1/aggregator.pb.h"
#include "common/rpc/channel.h"

namespace atelier::aggregator {

// Thread-safe.
class AggregatorClient {
 public:
  static std::unique_ptr<AggregatorClient> Create(std::shared_ptr<grpc::Channel> channel);
  virtual ~AggregatorClient() = default;

  virtual absl::StatusOr<v1::AggregatorPredictResponse> Predict(
      const v1::AggregatorPredictRequest& request,
      std::chrono::milliseconds timeout = std::chrono::seconds(30)) = 0;
  virtual absl::StatusOr<v1::ServedEnsemble> GetServed() = 0;
};

}  // namespace atelier::aggregator
