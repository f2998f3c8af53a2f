#include "services/trainer/predictor_cache.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace atelier::trainer {
namespace {

std::string KeyOf(const v1::ModelSpec& model, const std::string& weights_digest) {
  return absl::StrCat(weights_digest, "/", model.SerializeAsString());
}

}  // namespace

absl::Status PredictorCache::CheckHeld(const v1::ModelSpec& model) const {
  const auto& held = options_.backbones;
  if (held.empty() || std::find(held.begin(), held.end(), model.backbone()) != held.end()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "this trainer holds the backbones ", absl::StrJoin(held, ", "), ", not ", model.backbone()));
}

std::shared_ptr<nn::Predictor> PredictorCache::Find(const v1::ModelSpec& model,
                                                    const std::string& weights_digest) {
  const std::string key = KeyOf(model, weights_digest);
  MutexLock lock(mutex_);
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->key != key) continue;
    entries_.splice(entries_.begin(), entries_, it);
    return it->predictor;
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<nn::Predictor>> PredictorCache::Get(
    const v1::ModelSpec& model, const std::string& weights_digest) {
  ATELIER_RETURN_IF_ERROR(CheckHeld(model));
  MutexLock loading(loading_);
  // Whoever was here before may have loaded it.
  if (auto found = Find(model, weights_digest); found != nullptr) return found;
  ATELIER_ASSIGN_OR_RETURN(const std::string weights, fetch_(weights_digest));
  nn::PredictorOptions options;
  options.device = options_.device;
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<nn::Predictor> predictor,
                           nn::Predictor::Create(model, weights, options));
  Insert({KeyOf(model, weights_digest), predictor});
  return predictor;
}

void PredictorCache::Insert(Entry entry) {
  std::list<Entry> evicted;  // freed without the lock: reactions look members up
  MutexLock lock(mutex_);
  entries_.push_front(std::move(entry));
  int64_t bytes = 0;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto next = std::next(it);
    bytes += it->predictor->memory_bytes();
    if (bytes > options_.max_bytes && it != entries_.begin()) {
      evicted.splice(evicted.end(), entries_, it);
    }
    it = next;
  }
}

}  // namespace atelier::trainer
