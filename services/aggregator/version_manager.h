// Follows offered versions: validates, loads, warms up, swaps atomically.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "services/aggregator/served_version.h"

namespace atelier::aggregator {

struct VersionManagerOptions {
  int min_members = 0;  // > 0 overrides the versions'
  std::chrono::milliseconds warm_up_timeout{120'000};
  // Members that are merely not there yet: once min_members are warm, wait for the rest this often.
  int attempts_for_the_rest = 3;
  // Internal may be a device's bad moment, as long as its trainer takes to restart, or a fault for
  // good: half a minute, then the version is refused.
  int attempts_at_internal = 10;
  std::chrono::milliseconds first_backoff{250};
  std::chrono::milliseconds max_backoff{5'000};
};

// Thread-safe.
class VersionManager {
 public:
  using MakeMember =
      std::function<absl::StatusOr<std::shared_ptr<Member>>(const v1::EnsembleMember&)>;
  // Versions to fall back to, the best first, when nothing is served and the offered one is damaged
  // or does not fit. May be empty.
  using OlderVersions = std::function<std::vector<v1::EnsembleVersion>(const v1::EnsembleVersion&)>;

  VersionManager(const VersionManagerOptions& options, MakeMember make_member,
                 OlderVersions older = {});
  ~VersionManager();
  VersionManager(const VersionManager&) = delete;
  VersionManager& operator=(const VersionManager&) = delete;

  // Serve this from now on. Never blocks; of several offers only the newest counts. When it cannot
  // be served for good (wrong, damaged), the version served stays and refusal() says why; when
  // members are not there yet it is tried until they are or another one is offered. With nothing
  // served the same holds for the earlier versions, tried in turn.
  void Offer(v1::EnsembleVersion ensemble);

  std::shared_ptr<const ServedVersion> Current() const;  // null: none yet
  // Why the newest offer is not served (yet); OK when it is.
  absl::Status refusal() const;
  // Blocks until a version is served. Else the refusal; DeadlineExceeded when there was no offer.
  absl::Status WaitServed(std::chrono::steady_clock::time_point deadline);

 private:
  void Run();
  void Adopt(const v1::EnsembleVersion& ensemble);
  void FallBack(const v1::EnsembleVersion& ensemble);
  // Whether something newer is on offer, or this ends.
  bool Superseded();
  absl::StatusOr<std::shared_ptr<ServedVersion>> Build(const v1::EnsembleVersion& ensemble) const;
  // OK: all warm. The first lasting error, else the first transient one; `warm` counts the warm
  // ones.
  absl::Status WarmUp(const ServedVersion& version, int& warm);
  void Swap(std::shared_ptr<const ServedVersion> version, absl::Status refusal);
  void SetRefusal(const v1::EnsembleVersion& ensemble, const absl::Status& status);
  // False: stop or a newer offer.
  bool Backoff(std::chrono::milliseconds wait);

  const VersionManagerOptions options_;
  const MakeMember make_member_;
  const OlderVersions older_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool final_refusal_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<v1::EnsembleVersion> offered_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const ServedVersion> current_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the others
};

}  // namespace atelier::aggregator
