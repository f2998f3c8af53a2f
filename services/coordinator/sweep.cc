#include "services/coordinator/sweep.h"

#include <vector>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace atelier::coordinator {

absl::StatusOr<Swept> SweepArtifacts(Store& store, artifacts::ArtifactStore& artifacts,
                                     std::chrono::system_clock::time_point now) {
  Swept swept;
  ATELIER_ASSIGN_OR_RETURN(swept.unfinished, artifacts.RemoveUnfinished());
  ATELIER_ASSIGN_OR_RETURN(const std::vector<artifacts::StoredArtifact> stored, artifacts.List());
  std::vector<artifacts::StoredArtifact> abandoned;
  bool known = false;
  ATELIER_RETURN_IF_ERROR(store.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(known, transaction.HasReferences());
    for (const artifacts::StoredArtifact& artifact : stored) {
      if (now - artifact.stored < kAbandonedAfter) continue;
      ATELIER_ASSIGN_OR_RETURN(const bool needed, transaction.IsReferenced(artifact.digest));
      if (!needed) abandoned.push_back(artifact);
    }
    return absl::OkStatus();
  }));
  if (!known && !abandoned.empty()) {
    LogWarning("the database refers to no artifact: %d old ones that are stored stay",
               abandoned.size());
    abandoned.clear();
  }
  for (const artifacts::StoredArtifact& artifact : abandoned) {
    ATELIER_RETURN_IF_ERROR(artifacts.Delete(artifact.digest));
    LogInfo("removed artifact %s: nothing refers to it", artifact.digest);
    ++swept.artifacts;
    swept.bytes += artifact.size;
  }
  if (swept.unfinished > 0 || swept.artifacts > 0) {
    LogInfo("removed %d unfinished uploads and %d abandoned artifacts of %d bytes",
            swept.unfinished, swept.artifacts, swept.bytes);
  }
  return swept;
}

}  // namespace atelier::coordinator
