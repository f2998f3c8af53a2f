// Members loaded for prediction, least recently used first out. Bounded in bytes.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/nn/predictor.h"

namespace atelier::trainer {

struct PredictorCacheOptions {
  int64_t max_bytes = int64_t{4} << 30;  // the one loaded last stays whatever its size
  std::vector<std::string> backbones;    // empty: all
  std::string device = "auto";
};

// Thread-safe. A load keeps other loads waiting, but nobody who finds what he looks for.
class PredictorCache {
 public:
  using FetchWeights = std::function<absl::StatusOr<std::string>(const std::string& digest)>;
  PredictorCache(PredictorCacheOptions options, FetchWeights fetch)
      : options_(std::move(options)), fetch_(std::move(fetch)) {}

  // FailedPrecondition: a backbone this trainer does not hold.
  absl::Status CheckHeld(const v1::ModelSpec& model) const;
  // Null when it is not loaded. Never waits for a load.
  std::shared_ptr<nn::Predictor> Find(const v1::ModelSpec& model,
                                      const std::string& weights_digest);
  // Loads what is missing, once for all who ask meanwhile: blocks for a download.
  // FailedPrecondition: CheckHeld's, or weights that do not fit.
  absl::StatusOr<std::shared_ptr<nn::Predictor>> Get(const v1::ModelSpec& model,
                                                     const std::string& weights_digest);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<nn::Predictor> predictor;
  };
  void Insert(Entry entry);

  const PredictorCacheOptions options_;
  const FetchWeights fetch_;
  Mutex loading_;  // held by the one who loads; taken before `mutex_`
  Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // most recent first
};

}  // namespace atelier::trainer
