// One ModelInferRequest from wire to answer; what the unary call and the stream share.
#pragma once

#include <chrono>
#include <functional>

#include "absl/status/statusor.h"
#include "inference/grpc_predict_v2.pb.h"
#include "services/aggregator/metrics.h"
#include "services/aggregator/prediction.h"
#include "services/aggregator/version_manager.h"

namespace atelier::aggregator {

// What handlers work with; everything outlives them. Thread-safe.
struct Serving {
  const VersionManager& versions;
  PredictionEngine& engine;
  Metrics& metrics;
};

// `request` lives until `done`, which is called exactly once, on any thread; nobody reads it from
// then on. Records metrics under `api`.
void OipInfer(const Serving& serving, std::string_view api,
              const inference::ModelInferRequest& request,
              std::chrono::steady_clock::time_point deadline, std::function<bool()> cancelled,
              std::function<void(absl::StatusOr<inference::ModelInferResponse>)> done);

}  // namespace atelier::aggregator
