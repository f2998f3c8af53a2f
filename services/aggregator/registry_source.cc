#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/logging.h"
#include "common/concurrency/mutex.h"
#include "services/aggregator/version_source.h"

namespace atelier::aggregator {
namespace {

constexpr std::chrono::seconds kPinnedRetry{1};

class RegistrySource final : public VersionSource {
 public:
  RegistrySource(std::shared_ptr<coordinator::RegistryClient> registry, std::string name,
                 int pinned)
      : registry_(std::move(registry)), name_(std::move(name)), pinned_(pinned) {}

  ~RegistrySource() override { Stop(); }

  void Stop() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    watch_.reset();
    if (pinning_.joinable()) pinning_.join();
  }

  absl::Status Start(std::function<void(const v1::EnsembleVersion&)> on_version) override {
    if (pinned_ > 0) {
      pinning_ = std::thread([this, on_version = std::move(on_version)] { Pin(on_version); });
      return absl::OkStatus();
    }
    watch_ = registry_->WatchPromoted(
        name_, [on_version = std::move(on_version)](const v1::PromotedEnsemble& promoted) {
          on_version(promoted.ensemble());
        });
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Weights(const std::string& digest) override {
    return registry_->GetBytes(digest);
  }

  std::vector<v1::EnsembleVersion> Older(const v1::EnsembleVersion& ensemble) override {
    std::vector<v1::EnsembleVersion> older;
    if (pinned_ > 0) return older;
    const absl::StatusOr<v1::ListEnsemblesResponse> list =
        registry_->ListEnsembles(ensemble.name());
    if (!list.ok()) return older;
    // An older coordinator does not tell; of this name at least one was.
    const bool told = std::any_of(list->ensembles().begin(), list->ensembles().end(),
                                  [](const auto& listed) { return listed.promoted_once(); });
    for (const v1::ListedEnsemble& listed : list->ensembles()) {
      // What was never promoted may be held back on purpose.
      if ((listed.promoted_once() || !told) && listed.ensemble().name() == ensemble.name() &&
          listed.ensemble().version() < ensemble.version()) {
        older.push_back(listed.ensemble());
      }
    }
    return older;
  }

 private:
  void Pin(const std::function<void(const v1::EnsembleVersion&)>& on_version) {
    bool failing = false;
    while (true) {
      const auto ensemble = registry_->GetEnsemble(name_, pinned_);
      if (ensemble.ok()) return on_version(*ensemble);
      if (!failing) {
        LogWarning("%s@%d is not there yet: %s", name_, pinned_, ensemble.status().ToString());
      }
      failing = true;
      MutexLock lock(mutex_);
      if (changed_.WaitFor(mutex_, kPinnedRetry,
                           [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; })) {
        return;
      }
    }
  }

  const std::shared_ptr<coordinator::RegistryClient> registry_;
  const std::string name_;
  const int pinned_;
  std::unique_ptr<coordinator::RegistryClient::PromotedWatch> watch_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread pinning_;
};

}  // namespace

std::unique_ptr<VersionSource> MakeRegistrySource(
    std::shared_ptr<coordinator::RegistryClient> registry, const std::string& name, int pinned) {
  return std::make_unique<RegistrySource>(std::move(registry), name, pinned);
}

}  // namespace atelier::aggregator
