#include "services/cli/run_directory.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "services/cli/format.h"
#include "services/cli/recipe/recipe.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace fs = std::filesystem;
namespace {

constexpr char kOrigin[] = "origin.json";
constexpr char kRun[] = "run.json";
constexpr char kEnsemble[] = "ensemble.json";

std::string Real(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.9g", value) : "";
}

// What holds for other pictures, too. Classes in their usual order are what was found.
v1::RunPlan ReusablePlan(v1::RunPlan plan) {
  plan.clear_name();
  plan.clear_dataset();
  plan.clear_dataset_digest();
  if (std::is_sorted(plan.classes().begin(), plan.classes().end())) plan.clear_classes();
  for (v1::MemberSpec& member : *plan.mutable_members()) member.clear_initial_weights_digest();
  return plan;
}

}  // namespace

absl::StatusOr<RunDirectory> RunDirectory::Create(const fs::path& path) {
  std::error_code error;
  if (IsRunDirectory(path)) {
    RunDirectory existing(path);
    const absl::StatusOr<v1::Run> run = existing.ReadRun();
    const bool done = run.ok() && run->state() == v1::RUN_DONE;
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(),
                     done ? " holds a finished run; choose another --out, or use it: atelier "
                            "evaluate --ensemble "
                          : " holds an unfinished run; continue it: atelier runs resume ",
                     path.string()));
  }
  if (fs::exists(path, error) && !(fs::is_directory(path, error) && fs::is_empty(path, error))) {
    return absl::FailedPreconditionError(absl::StrCat(
        path.string(), " exists and is no empty folder; choose another folder for --out"));
  }
  ATELIER_RETURN_IF_ERROR(MakeDirectories(path));
  return RunDirectory(fs::absolute(path).lexically_normal());
}

absl::StatusOr<RunDirectory> RunDirectory::Open(const fs::path& path) {
  if (!IsRunDirectory(path)) {
    return absl::NotFoundError(absl::StrCat(path.string(), " is no run directory (it has no ", kRun,
                                            "); atelier runs list shows them"));
  }
  return RunDirectory(fs::absolute(path).lexically_normal());
}

bool RunDirectory::IsRunDirectory(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / kRun, error) || fs::exists(path / kOrigin, error);
}

fs::path RunDirectory::weights(const std::string& digest) const {
  return path_ / "weights" / (digest + ".safetensors");
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> RunDirectory::Lock() const {
  return DirectoryLock::Acquire(path_);
}

bool RunDirectory::InUse() const { return DirectoryLock::Held(path_); }

void RunDirectory::RemoveIfUnused() const {
  const auto lock = Lock();
  if (!lock.ok()) return;
  const absl::StatusOr<RunOrigin> origin = ReadOrigin();
  if (!origin.ok() || !origin->run_id.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

absl::Status RunDirectory::WriteOrigin(const RunOrigin& origin) const {
  const Json json = {{"run_id", origin.run_id},
                     {"data", origin.data.string()},
                     {"coordinator", origin.coordinator}};
  return WriteFileAtomically(path_ / kOrigin,
                             json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

absl::StatusOr<RunOrigin> RunDirectory::ReadOrigin() const {
  ATELIER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_ / kOrigin));
  try {
    const Json json = Json::parse(text);
    return RunOrigin{json.at("run_id"), json.at("data").get<std::string>(), json.at("coordinator")};
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat((path_ / kOrigin).string(), ": ", e.what()));
  }
}

absl::Status RunDirectory::WriteRun(const v1::Run& run) const {
  return WriteFileAtomically(path_ / kRun, ProtoToJson(run));
}

absl::StatusOr<v1::Run> RunDirectory::ReadRun() const {
  ATELIER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_ / kRun));
  v1::Run run;
  const absl::Status status = ProtoFromJson(text, run);
  if (!status.ok()) {
    return absl::DataLossError(
        absl::StrCat((path_ / kRun).string(), ": ", std::string(status.message())));
  }
  return run;
}

absl::StatusOr<v1::EnsembleVersion> RunDirectory::ReadEnsemble() const {
  const absl::StatusOr<std::string> text = ReadFile(path_ / kEnsemble);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(path_.string(), " has no ensemble yet; finish the run: atelier runs resume ",
                     path_.string()));
  }
  ATELIER_RETURN_IF_ERROR(text.status());
  v1::EnsembleVersion ensemble;
  const absl::Status status = ProtoFromJson(*text, ensemble);
  if (!status.ok()) {
    return absl::DataLossError(
        absl::StrCat((path_ / kEnsemble).string(), ": ", std::string(status.message())));
  }
  return ensemble;
}

absl::Status RunDirectory::WriteSubmission(const ensemble::Probabilities& test) const {
  return WriteFileAtomically(path_ / "submission.csv", SubmissionCsv(test));
}

absl::Status RunDirectory::WriteResults(const v1::Run& run) const {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(path_ / "history"));
  for (const v1::MemberSpec& member : run.plan().members()) {
    if (!IsSafeName(member.name())) continue;
    ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path_ / "history" / (member.name() + ".csv"),
                                                HistoryCsv(run, member.name())));
  }
  std::string quarantine = CsvRow({"file", "reason"});
  for (const v1::QuarantinedFile& file : run.dataset().quarantined()) {
    quarantine += CsvRow({file.file(), file.reason()});
  }
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path_ / "quarantine.csv", quarantine));
  std::string duplicates = CsvRow({"file", "kept"});
  for (const v1::DuplicateFile& file : run.dataset().duplicates()) {
    duplicates += CsvRow({file.file(), file.kept()});
  }
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path_ / "duplicates.csv", duplicates));
  ATELIER_RETURN_IF_ERROR(
      WriteFileAtomically(path_ / "recipe.yaml", RecipeToYaml(ReusablePlan(run.plan()))));
  if (run.has_ensemble()) {
    const std::vector<std::string> classes(run.ensemble().classes().begin(),
                                           run.ensemble().classes().end());
    const std::string metrics =
        MetricsToJson(run.metrics(), classes).dump(2, ' ', false, Json::error_handler_t::replace);
    ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path_ / "metrics.json", metrics + "\n"));
    ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path_ / kEnsemble, ProtoToJson(run.ensemble())));
  }
  return WriteRun(run);
}

std::string SubmissionCsv(const ensemble::Probabilities& probabilities) {
  std::string csv = ",answer value\n";
  for (int i = 0; i < probabilities.rows; ++i) {
    absl::StrAppend(&csv, i, ",", ensemble::ArgMax(probabilities.row(i)), "\n");
  }
  return csv;
}

std::string HistoryCsv(const v1::Run& run, const std::string& member) {
  std::string csv =
      "stage,epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,images\n";
  for (const v1::Task& task : run.tasks()) {
    if (task.member() != member) continue;
    for (const v1::EpochMetrics& e : task.result().history()) {
      csv += CsvRow({task.stage(), absl::StrCat(e.epoch()), Real(e.loss()), Real(e.accuracy()),
                     Real(e.val_loss()), Real(e.val_accuracy()), Real(e.learning_rate()),
                     Real(e.seconds()), absl::StrCat(e.images())});
    }
  }
  return csv;
}

}  // namespace atelier::cli
