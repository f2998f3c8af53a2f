// A finished run from a coordinator (embedded or not) into a run directory.
#pragma once

#include "absl/status/statusor.h"
#include "atelier/v1/coordinator.pb.h"
#include "services/cli/run_directory.h"
#include "services/coordinator/client.h"

namespace atelier::cli {

// What members predicted, combined, out of the artifacts of the tasks the ensemble took.
struct RunPredictions {
  ensemble::Probabilities validation;
  std::vector<int> validation_labels;
  ensemble::Probabilities test;  // no rows: the data has no test pictures
};
absl::StatusOr<RunPredictions> FetchPredictions(const v1::Run& run,
                                                coordinator::RegistryClient& registry);

// The task whose weights a member of the run's ensemble has; null when there is none.
const v1::Task* ChosenTask(const v1::Run& run, const v1::EnsembleMember& member);

// Weights, submission.csv, report.html, then the results; `run` must be RUN_DONE. A report that
// cannot be complete (a preview fails) says so in the report and is no error.
absl::Status FetchRun(const v1::Run& run, coordinator::RunClient& runs,
                      coordinator::RegistryClient& registry, const RunDirectory& directory);

}  // namespace atelier::cli
