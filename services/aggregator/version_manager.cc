#include "services/aggregator/version_manager.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "services/aggregator/remote_member.h"

namespace atelier::aggregator {
namespace {

using SteadyClock = std::chrono::steady_clock;

PixelsPtr GreyPicture(const v1::ImageSpec& spec) {
  auto pixels = std::make_shared<Pixels>();
  pixels->count = 1;
  pixels->size = spec.size();
  pixels->channels = spec.channels() == 0 ? 3 : spec.channels();
  pixels->bytes.assign(static_cast<size_t>(spec.size()) * spec.size() * pixels->channels, '\x80');
  return pixels;
}

// What one look at a version's members says about serving it.
enum class Verdict { kServe, kTryAgain, kRefuse };

// The same for an offered version and for one to fall back to. `warm` members of at least
// `min_members` answered; `status` is what became of the rest.
Verdict Judge(const VersionManagerOptions& options, const absl::Status& status, int warm,
              int min_members, int attempt) {
  if (status.ok()) return Verdict::kServe;
  const bool internal = absl::IsInternal(status);
  if (!IsTransient(status) && !internal) return Verdict::kRefuse;
  if (warm >= min_members && attempt >= options.attempts_for_the_rest) return Verdict::kServe;
  if (internal && attempt >= options.attempts_at_internal) return Verdict::kRefuse;
  return Verdict::kTryAgain;
}

bool SameVersion(const v1::EnsembleVersion& a, const v1::EnsembleVersion& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// Answers of one warm-up; shared with members that answer after it was given up.
struct WarmUpAnswers {
  Mutex mutex;
  CondVar changed;
  std::vector<std::optional<absl::Status>> answers ABSL_GUARDED_BY(mutex);
  size_t missing ABSL_GUARDED_BY(mutex) = 0;
};

}  // namespace

VersionManager::VersionManager(const VersionManagerOptions& options, MakeMember make_member,
                               OlderVersions older)
    : options_(options),
      make_member_(std::move(make_member)),
      older_(std::move(older)),
      thread_([this] { Run(); }) {}

VersionManager::~VersionManager() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void VersionManager::Offer(v1::EnsembleVersion ensemble) {
  MutexLock lock(mutex_);
  offered_ = std::move(ensemble);
  changed_.NotifyAll();
}

std::shared_ptr<const ServedVersion> VersionManager::Current() const {
  MutexLock lock(mutex_);
  return current_;
}

absl::Status VersionManager::refusal() const {
  MutexLock lock(mutex_);
  return refusal_;
}

absl::Status VersionManager::WaitServed(SteadyClock::time_point deadline) {
  MutexLock lock(mutex_);
  changed_.WaitUntil(mutex_, deadline, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return current_ != nullptr || final_refusal_ || stopping_;
  });
  if (current_ != nullptr) return absl::OkStatus();
  if (!refusal_.ok()) return refusal_;
  return absl::DeadlineExceededError("no ensemble version is promoted yet");
}

void VersionManager::Run() {
  while (true) {
    v1::EnsembleVersion ensemble;
    {
      MutexLock lock(mutex_);
      changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return stopping_ || offered_.has_value();
      });
      if (stopping_) return;
      ensemble = *std::exchange(offered_, std::nullopt);
      final_refusal_ = false;
      // A watch that reconnects offers again what is served already.
      if (current_ != nullptr && SameVersion(current_->ensemble, ensemble)) {
        refusal_ = absl::OkStatus();
        continue;
      }
    }
    Adopt(ensemble);
  }
}

void VersionManager::Adopt(const v1::EnsembleVersion& ensemble) {
  absl::StatusOr<std::shared_ptr<ServedVersion>> version = Build(ensemble);
  if (!version.ok()) {
    SetRefusal(ensemble, version.status());
    return FallBack(ensemble);
  }
  std::chrono::milliseconds wait = options_.first_backoff;
  for (int attempt = 1;; ++attempt) {
    int warm = 0;
    const absl::Status status = WarmUp(**version, warm);
    const Verdict verdict = Judge(options_, status, warm, (*version)->min_members, attempt);
    if (verdict == Verdict::kServe) return Swap(*std::move(version), status);
    SetRefusal(ensemble, status);
    if (verdict == Verdict::kRefuse) return FallBack(ensemble);
    if (!Backoff(wait)) return;
    wait = std::min(wait * 2, options_.max_backoff);
  }
}

bool VersionManager::Superseded() {
  MutexLock lock(mutex_);
  return stopping_ || offered_.has_value();
}

void VersionManager::FallBack(const v1::EnsembleVersion& ensemble) {
  std::vector<v1::EnsembleVersion> candidates;  // the best first
  if (Current() == nullptr && older_) candidates = older_(ensemble);
  const absl::Status why = refusal();
  std::chrono::milliseconds wait = options_.first_backoff;
  for (int attempt = 1; !candidates.empty(); ++attempt) {
    for (auto it = candidates.begin(); it != candidates.end();) {
      if (Superseded()) return;
      // Built for each try: what one that was in vain has loaded goes with it.
      absl::StatusOr<std::shared_ptr<ServedVersion>> version = Build(*it);
      int warm = 0;
      const absl::Status status = version.ok() ? WarmUp(**version, warm) : version.status();
      const Verdict verdict = version.ok()
                                  ? Judge(options_, status, warm, (*version)->min_members, attempt)
                                  : Verdict::kRefuse;
      if (verdict == Verdict::kServe) {
        LogWarning("serving the earlier version %s instead", VersionLabel(*it));
        return Swap(*std::move(version), why);
      }
      it = verdict == Verdict::kRefuse ? candidates.erase(it) : std::next(it);
    }
    if (candidates.empty()) break;
    if (!Backoff(wait)) return;
    wait = std::min(wait * 2, options_.max_backoff);
  }
  MutexLock lock(mutex_);
  final_refusal_ = true;
  changed_.NotifyAll();
}

absl::StatusOr<std::shared_ptr<ServedVersion>> VersionManager::Build(
    const v1::EnsembleVersion& ensemble) const {
  ATELIER_RETURN_IF_ERROR(ValidateVersion(ensemble));
  auto version = std::make_shared<ServedVersion>();
  version->ensemble = ensemble;
  version->min_members = MinMembers(ensemble, options_.min_members);
  for (const v1::EnsembleMember& member : ensemble.members()) {
    ATELIER_ASSIGN_OR_RETURN(version->members.emplace_back(), make_member_(member));
  }
  return version;
}

absl::Status VersionManager::WarmUp(const ServedVersion& version, int& warm) {
  const auto deadline = SteadyClock::now() + options_.warm_up_timeout;
  auto shared = std::make_shared<WarmUpAnswers>();
  {
    MutexLock lock(shared->mutex);
    shared->missing = version.members.size();
    shared->answers.resize(version.members.size());
  }
  for (size_t i = 0; i < version.members.size(); ++i) {
    version.members[i]->Predict(GreyPicture(version.members[i]->spec().model().image()), deadline,
                                [shared, i](const absl::StatusOr<v1::Matrix>& answer) {
                                  MutexLock lock(shared->mutex);
                                  shared->answers[i] = answer.status();
                                  --shared->missing;
                                  shared->changed.NotifyAll();
                                });
  }
  // Stopping or a newer offer ends the wait: woken often enough to notice.
  constexpr std::chrono::milliseconds kNotice{50};
  MutexLock lock(shared->mutex);
  while (shared->missing > 0 && SteadyClock::now() < deadline) {
    shared->changed.WaitFor(shared->mutex, kNotice,
                            [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return shared->missing == 0; });
    if (Superseded()) return absl::CancelledError("superseded");
  }
  absl::Status worst;
  for (size_t i = 0; i < shared->answers.size(); ++i) {
    const absl::Status status =
        shared->answers[i].value_or(absl::DeadlineExceededError("no answer to the warm-up"));
    warm += status.ok();
    if (status.ok() || (!worst.ok() && !IsTransient(worst))) continue;
    if (worst.ok() || !IsTransient(status)) {
      worst = Annotate(status, "member " + version.members[i]->spec().name());
    }
  }
  return worst;
}

void VersionManager::Swap(std::shared_ptr<const ServedVersion> version, absl::Status refusal) {
  LogInfo("serving %s: %d members, at least %d must answer%s", VersionLabel(version->ensemble),
          static_cast<int>(version->members.size()), version->min_members,
          refusal.ok() ? std::string() : " (" + std::string(refusal.message()) + ")");
  std::shared_ptr<const ServedVersion> old = std::move(version);  // destroyed without the lock
  MutexLock lock(mutex_);
  current_.swap(old);
  refusal_ = std::move(refusal);
  changed_.NotifyAll();
}

void VersionManager::SetRefusal(const v1::EnsembleVersion& ensemble, const absl::Status& status) {
  const absl::Status annotated = Annotate(status, "version " + VersionLabel(ensemble));
  MutexLock lock(mutex_);
  if (refusal_ != annotated) LogWarning("not served: %s", annotated.ToString());
  refusal_ = annotated;
}

bool VersionManager::Backoff(std::chrono::milliseconds wait) {
  MutexLock lock(mutex_);
  return !changed_.WaitFor(mutex_, wait, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return stopping_ || offered_.has_value();
  });
}

}  // namespace atelier::aggregator
