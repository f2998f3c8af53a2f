// From a run whose tasks are all done to its ensemble: which weights each member keeps, how the
// ensemble scores, the version to store. Pure but for reading the members' probability artifacts.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/artifacts/artifact_store.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

struct PublishedRun {
  v1::EnsembleVersion ensemble;  // without version number and time
  v1::EnsembleMetrics metrics;   // images = 0 when the run has no validation part
  std::vector<std::string> warnings;
};

// DataLoss when an artifact is damaged, NotFound when one is gone.
absl::StatusOr<PublishedRun> PreparePublication(const RunRecord& record,
                                                artifacts::ArtifactStore& store);

// The task of a member whose best weights the ensemble takes. Recipe `seed` takes the last stage's
// (as the notebook does, with a warning when an earlier one was better); every other recipe takes
// the stage with the least val_loss, but a last stage that trained on all data always wins: its
// validation pictures were trained on, so its val_loss compares with nothing.
const v1::Task& ChooseTask(const RunRecord& record, const std::string& member,
                           std::vector<std::string>& warnings);

}  // namespace atelier::coordinator
