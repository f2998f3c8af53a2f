#include "services/trainer/predictor_cache.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace atelier::trainer {

absl::StatusOr<std::shared_ptr<nn::Predictor>> PredictorCache::Get(
    const v1::ModelSpec& model, const std::string& weights_digest) {
  const auto& held = options_.backbones;
  if (!held.empty() && std::find(held.begin(), held.end(), model.backbone()) == held.end()) {
    return absl::FailedPreconditionError(absl::StrCat("this trainer holds the backbones ",
                                                      absl::StrJoin(held, ", "), ", not ",
                                                      model.backbone()));
  }
  const std::string key = absl::StrCat(weights_digest, "/", model.SerializeAsString());
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->key != key) continue;
    entries_.splice(entries_.begin(), entries_, it);
    return it->predictor;
  }
  ATELIER_ASSIGN_OR_RETURN(const std::string weights, fetch_(weights_digest));
  nn::PredictorOptions options;
  options.device = options_.device;
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<nn::Predictor> predictor,
                           nn::Predictor::Create(model, weights, options));
  entries_.push_front({key, predictor});
  int64_t bytes = 0;
  for (auto it = entries_.begin(); it != entries_.end();) {
    bytes += it->predictor->memory_bytes();
    it = bytes > options_.max_bytes && it != entries_.begin() ? entries_.erase(it) : std::next(it);
  }
  return predictor;
}

}  // namespace atelier::trainer
