// What crashes leave in the artifact store.
#pragma once

#include <chrono>

#include "absl/status/statusor.h"
#include "common/artifacts/artifact_store.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

// An upload is committed (or submitted, or published) minutes after it was stored or found to be
// stored already: what nobody refers to after so long was abandoned, and whoever comes back for it
// uploads it again.
inline constexpr std::chrono::hours kAbandonedAfter{24};

struct Swept {
  int unfinished = 0;  // uploads that a killed process left
  int artifacts = 0;   // abandoned ones
  int64_t bytes = 0;   // of these
};

// Removes both, and logs what. For the process that holds the state folder's lock, before it takes
// calls. Never touches an artifact that the database refers to, whatever its age, and no artifact
// at all when the database refers to none: then it is rather the database that is new or was lost.
absl::StatusOr<Swept> SweepArtifacts(Store& store, artifacts::ArtifactStore& artifacts,
                                     std::chrono::system_clock::time_point now);

}  // namespace atelier::coordinator
