// The run directory: everything a run leaves behind, self-contained and movable.
//
// - run.json: v1::Run, that is plan, tasks, attempts, histories, dataset summary, metrics
// - ensemble.json: v1::EnsembleVersion
// - weights/<digest>.safetensors
// - metrics.json: as `evaluate --json`
// - history/<member>.csv: one row per stage and epoch
// - quarantine.csv: file,reason
// - duplicates.csv: file,kept
// - submission.csv: predictions of the test pictures, in the order of their names
// - recipe.yaml: the plan, ready for --recipe
// - report.html
// - origin.json: where data and coordinator were
// - state/: the embedded coordinator's own
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/coordinator.pb.h"
#include "common/base/files.h"
#include "common/ensemble/combine.h"

namespace atelier::cli {

// How the run was started, so that it can be continued.
struct RunOrigin {
  std::string run_id;
  std::filesystem::path data;  // absolute; with a coordinator the path inside the data root
  std::string coordinator;     // "host:port"; empty: embedded
};

class RunDirectory {
 public:
  // A new or empty folder (made with its parents). FailedPrecondition when it holds anything; the
  // message says what it is and how to go on.
  static absl::StatusOr<RunDirectory> Create(const std::filesystem::path& path);
  // NotFound when it is no run directory.
  static absl::StatusOr<RunDirectory> Open(const std::filesystem::path& path);
  static bool IsRunDirectory(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path state() const { return path_ / "state"; }
  std::filesystem::path report() const { return path_ / "report.html"; }
  std::filesystem::path weights(const std::string& digest) const;

  // Held by the process that trains into this directory.
  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock() const;
  // Whether there is such a process.
  bool InUse() const;
  // Removes the folder, which was made new or empty, of a run that never began: none when there is
  // a run, or another process is at it.
  void RemoveIfUnused() const;

  absl::Status WriteOrigin(const RunOrigin& origin) const;
  absl::StatusOr<RunOrigin> ReadOrigin() const;
  absl::Status WriteRun(const v1::Run& run) const;
  absl::StatusOr<v1::Run> ReadRun() const;
  // NotFound with the command that finishes the run when it has no ensemble yet.
  absl::StatusOr<v1::EnsembleVersion> ReadEnsemble() const;

  // ensemble.json, metrics.json, history/, quarantine.csv, duplicates.csv, recipe.yaml out of
  // `run`. The weights and submission.csv are written before it: ensemble.json says they are
  // complete.
  absl::Status WriteResults(const v1::Run& run) const;
  absl::Status WriteSubmission(const ensemble::Probabilities& test) const;

 private:
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// ",answer value" and one row "index,class_index" for each row of probabilities.
std::string SubmissionCsv(const ensemble::Probabilities& probabilities);
// "stage,epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,images"
std::string HistoryCsv(const v1::Run& run, const std::string& member);

}  // namespace atelier::cli
