#include "services/coordinator/sweep.h"

#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"

namespace atelier::coordinator {
namespace {

using Artifacts = std::vector<artifacts::StoredArtifact>;

// Notes the start at `now`. Returns the last one that is long enough ago for what it found, and
// what still nobody refers to, to be abandoned; earlier ones are forgotten.
absl::StatusOr<std::optional<int64_t>> NoteStart(Transaction& transaction,
                                                 std::chrono::system_clock::time_point now) {
  ATELIER_RETURN_IF_ERROR(transaction.AddStart(UnixMillis(now)));
  ATELIER_ASSIGN_OR_RETURN(const std::optional<int64_t> start,
                           transaction.LastStart(UnixMillis(now - kAbandonedAfter)));
  if (start.has_value()) ATELIER_RETURN_IF_ERROR(transaction.RemoveStartsBefore(*start));
  return start;
}

absl::StatusOr<Artifacts> Unreferenced(Transaction& transaction, const Artifacts& stored) {
  Artifacts unreferenced;
  for (const artifacts::StoredArtifact& artifact : stored) {
    ATELIER_ASSIGN_OR_RETURN(const bool needed, transaction.IsReferenced(artifact.digest));
    if (!needed) unreferenced.push_back(artifact);
  }
  return unreferenced;
}

}  // namespace

absl::StatusOr<Swept> SweepArtifacts(Store& store, artifacts::ArtifactStore& artifacts,
                                     std::chrono::system_clock::time_point now) {
  Swept swept;
  ATELIER_ASSIGN_OR_RETURN(swept.unfinished, artifacts.RemoveUnfinished());
  ATELIER_ASSIGN_OR_RETURN(const Artifacts stored, artifacts.List());
  std::optional<int64_t> start;
  Artifacts unreferenced;
  bool known = false;
  ATELIER_RETURN_IF_ERROR(store.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(start, NoteStart(transaction, now));
    ATELIER_ASSIGN_OR_RETURN(unreferenced, Unreferenced(transaction, stored));
    ATELIER_ASSIGN_OR_RETURN(known, transaction.HasReferences());
    return absl::OkStatus();
  }));
  for (const artifacts::StoredArtifact& artifact : unreferenced) {
    if (!known || !start.has_value() || UnixMillis(artifact.stored) > *start) {
      ++swept.unreferenced;
      continue;
    }
    ATELIER_RETURN_IF_ERROR(artifacts.Delete(artifact.digest));
    LogInfo("removed artifact %s: nothing refers to it", artifact.digest);
    ++swept.artifacts;
    swept.bytes += artifact.size;
  }
  if (swept.unfinished > 0 || swept.artifacts > 0) {
    LogInfo("removed %d unfinished uploads and %d abandoned artifacts of %d bytes",
            swept.unfinished, swept.artifacts, swept.bytes);
  }
  if (swept.unreferenced > 0 && !known) {
    LogWarning("the database refers to no artifact: the %d that are stored stay",
               swept.unreferenced);
  } else if (swept.unreferenced > 0) {
    LogInfo(
        "the database refers to all but %d stored artifacts, which stay for a week; if it is "
        "an older backup, put the newer one back before",
        swept.unreferenced);
  }
  return swept;
}

}  // namespace atelier::coordinator
