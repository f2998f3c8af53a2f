// What crashes leave in the artifact store.
#pragma once

#include <chrono>

#include "absl/status/statusor.h"
#include "common/artifacts/artifact_store.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

// An upload is committed (or submitted, or published) minutes after it was stored or found to be
// stored already, and whoever comes back later uploads it again. The week is for people: after an
// older backup of the database was restored, nothing refers to what newer runs stored, until they
// notice and put the newer database back.
inline constexpr std::chrono::hours kAbandonedAfter{7 * 24};

struct Swept {
  int unfinished = 0;    // uploads that a killed process left
  int artifacts = 0;     // abandoned ones
  int64_t bytes = 0;     // of these
  int unreferenced = 0;  // others, which stay: nothing refers to them either
};

// Removes unfinished uploads, and each artifact that nothing refers to and that was stored already
// at a start with this database (which remembers its starts) at least kAbandonedAfter ago; logs
// what. So a backup of the database that is restored later begins the wait anew for all that it
// does not know. Never touches an artifact that the database refers to, whatever its age, and no
// artifact at all when the database refers to none: then it is rather the database that is new or
// was lost. For the process that holds the state folder's lock, before it takes calls, once a
// start. `now`: the start's time.
absl::StatusOr<Swept> SweepArtifacts(Store& store, artifacts::ArtifactStore& artifacts,
                                     std::chrono::system_clock::time_point now);

}  // namespace atelier::coordinator
