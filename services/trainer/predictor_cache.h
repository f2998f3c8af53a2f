// Members loaded for prediction, least recently used first out. Bounded in bytes.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/nn/predictor.h"

namespace atelier::trainer {

struct PredictorCacheOptions {
  int64_t max_bytes = int64_t{4} << 30;  // the one in use stays whatever its size
  std::vector<std::string> backbones;    // empty: all
  std::string device = "auto";
};

// Used by the inference thread alone.
class PredictorCache {
 public:
  using FetchWeights = std::function<absl::StatusOr<std::string>(const std::string& digest)>;
  PredictorCache(PredictorCacheOptions options, FetchWeights fetch)
      : options_(std::move(options)), fetch_(std::move(fetch)) {}

  // FailedPrecondition: a backbone this trainer does not hold, or weights that do not fit.
  absl::StatusOr<std::shared_ptr<nn::Predictor>> Get(const v1::ModelSpec& model,
                                                     const std::string& weights_digest);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<nn::Predictor> predictor;
  };
  const PredictorCacheOptions options_;
  const FetchWeights fetch_;
  std::list<Entry> entries_;  // most recent first
};

}  // namespace atelier::trainer
