// A member that runs in this process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/concurrency/worker_pool.h"
#include "common/nn/predictor.h"
#include "services/aggregator/deadline_timer.h"
#include "services/aggregator/member.h"

namespace atelier::aggregator {

// What in-process members share; outlives them and their predictions.
struct LocalRuntime {
  // Forwards run here only: LibTorch leaks for every new thread that runs one.
  WorkerPool& inference;
  // Fetching and building members runs here, so that it holds up no forward.
  WorkerPool& loading;
  // Ends what waits for a load beyond its deadline.
  DeadlineTimer& timer;
  // The bytes of a weights artifact, checked against the digest.
  std::function<absl::StatusOr<std::string>(const std::string& digest)> weights;
  std::function<absl::StatusOr<std::unique_ptr<nn::Predictor>>(const v1::ModelSpec&,
                                                               std::string_view weights)>
      create;
  // Pixels waiting for a forward; above it Predict answers UNAVAILABLE.
  int64_t max_waiting_bytes = int64_t{512} << 20;
  std::atomic<int64_t> waiting_bytes{0};
  // Once true, loads and forwards that wait for their turn are Unavailable instead: a pool that
  // stops runs everything queued.
  std::atomic<bool> stopping{false};
};

// Loads at its first prediction; a failed load fails the predictions that waited for it and is
// tried again by the next one.
std::shared_ptr<Member> MakeLocalMember(const v1::EnsembleMember& spec, LocalRuntime& runtime);

}  // namespace atelier::aggregator
