// The one domain call behind both APIs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/concurrency/worker_pool.h"
#include "common/ensemble/combine.h"
#include "services/aggregator/admission.h"
#include "services/aggregator/deadline_timer.h"
#include "services/aggregator/metrics.h"
#include "services/aggregator/picture_preparation.h"
#include "services/aggregator/served_version.h"
#include "services/aggregator/version_manager.h"

namespace atelier::aggregator {

// A model of the version that was current when it was found; keeps that version alive.
struct ServedModel {
  std::shared_ptr<const ServedVersion> version;
  std::string name;
  std::vector<size_t> members;  // indexes into version->members
  int min_members = 1;
};

// `manager`'s current version as model `name`. `version`: empty, or the number served.
// FailedPrecondition: nothing is served. NotFound names the models or the version there are.
absl::StatusOr<ServedModel> FindModel(const VersionManager& manager, const std::string& name,
                                      const std::string& version = "");

struct PredictionRequest {
  ServedModel model;
  Pictures pictures;  // the memory behind it lives until `done` is called
  std::chrono::steady_clock::time_point deadline;
  // Asked before each picture; true ends the request early. May be empty.
  std::function<bool()> cancelled;
};

struct Prediction {
  ensemble::Probabilities probabilities;
  std::vector<std::string> labels;
  std::vector<std::string> members_used;  // both in the order of the version
  std::vector<std::string> members_failed;
  bool degraded = false;
  std::vector<ensemble::Probabilities> member_probabilities;  // of members_used
};

// Thread-safe.
class PredictionEngine {
 public:
  using Done = std::function<void(absl::StatusOr<Prediction>)>;

  // Everything outlives the engine. `decoding` takes at least max_queued_pictures + max_pictures
  // jobs.
  PredictionEngine(const RequestLimits& limits, Admission& admission, WorkerPool& decoding,
                   DeadlineTimer& timer, Metrics& metrics);

  // Never blocks. `done` is called exactly once, on any thread, before the deadline (a tenth of the
  // remaining time, 20 to 500 ms, is kept for the way back). InvalidArgument, ResourceExhausted:
  // CheckPictures, PreparePicture (the lowest index at fault is named). Unavailable: FanOut,
  // overload, too little time to prepare the pictures, or CutOff. Cancelled: `cancelled` said so.
  void Predict(PredictionRequest request, Done done);

  // Everything under way ends Unavailable, and so does what begins later. Blocks for none of it: a
  // picture that is being decoded is finished first, the members' answers are not waited for.
  void CutOff();

  const RequestLimits& limits() const { return limits_; }

 private:
  // False after CutOff.
  bool Remember(uint64_t number, std::function<void()> cut_off);
  void Forget(uint64_t number);

  const RequestLimits limits_;
  Admission& admission_;
  WorkerPool& decoding_;
  DeadlineTimer& timer_;
  Metrics& metrics_;
  std::atomic<uint64_t> next_number_{0};
  Mutex mutex_;
  bool cut_off_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<uint64_t, std::function<void()>> under_way_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::aggregator
