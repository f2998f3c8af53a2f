#include "services/cli/fetch_run.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/ensemble/npy.h"
#include "services/cli/command.h"
#include "services/cli/report/report.h"
#include "services/cli/report/report_data.h"

namespace atelier::cli {
namespace {

absl::StatusOr<ensemble::Probabilities> FetchMatrix(coordinator::RegistryClient& registry,
                                                    const std::string& digest) {
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, registry.GetBytes(digest));
  return ensemble::ProbabilitiesFromNpy(bytes);
}

absl::Status FetchWeightsFiles(const v1::EnsembleVersion& ensemble,
                               coordinator::RegistryClient& registry,
                               const RunDirectory& directory) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(directory.path() / "weights"));
  for (const v1::EnsembleMember& member : ensemble.members()) {
    if (!IsSha256Hex(member.weights_digest())) {
      return absl::DataLossError(absl::StrCat("weights of ", member.name(), " have no digest"));
    }
    std::error_code error;
    const std::filesystem::path path = directory.weights(member.weights_digest());
    if (std::filesystem::exists(path, error)) continue;
    ATELIER_RETURN_IF_ERROR(registry.GetFile(member.weights_digest(), path));
  }
  return absl::OkStatus();
}

}  // namespace

const v1::Task* ChosenTask(const v1::Run& run, const v1::EnsembleMember& member) {
  const v1::Task* chosen = nullptr;
  for (const v1::Task& task : run.tasks()) {
    if (task.member() == member.name() &&
        task.result().weights_digest() == member.weights_digest()) {
      chosen = &task;
    }
  }
  return chosen;
}

absl::StatusOr<RunPredictions> FetchPredictions(const v1::Run& run,
                                                coordinator::RegistryClient& registry) {
  RunPredictions predictions;
  std::vector<ensemble::Probabilities> validation;
  std::vector<ensemble::Probabilities> test;
  std::string labels_digest;
  for (const v1::EnsembleMember& member : run.ensemble().members()) {
    const v1::Task* task = ChosenTask(run, member);
    if (task == nullptr) {
      return absl::NotFoundError(absl::StrCat("no task has the weights of ", member.name()));
    }
    const v1::TaskResult& result = task->result();
    if (!result.validation_probabilities_digest().empty()) {
      ATELIER_ASSIGN_OR_RETURN(validation.emplace_back(),
                               FetchMatrix(registry, result.validation_probabilities_digest()));
      labels_digest = result.validation_labels_digest();
    }
    if (!result.test_probabilities_digest().empty()) {
      ATELIER_ASSIGN_OR_RETURN(test.emplace_back(),
                               FetchMatrix(registry, result.test_probabilities_digest()));
    }
  }
  const auto members = static_cast<size_t>(run.ensemble().members_size());
  if (!validation.empty() && validation.size() == members) {
    ATELIER_ASSIGN_OR_RETURN(predictions.validation, ensemble::Mean(validation));
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes, registry.GetBytes(labels_digest));
    ATELIER_ASSIGN_OR_RETURN(predictions.validation_labels, ensemble::LabelsFromNpy(bytes));
  }
  if (!test.empty() && test.size() == members) {
    ATELIER_ASSIGN_OR_RETURN(predictions.test, ensemble::Mean(test));
  }
  return predictions;
}

absl::Status FetchRun(const v1::Run& run, coordinator::RunClient& runs,
                      coordinator::RegistryClient& registry, const RunDirectory& directory) {
  ATELIER_RETURN_IF_ERROR(FetchWeightsFiles(run.ensemble(), registry, directory));
  ATELIER_ASSIGN_OR_RETURN(const RunPredictions predictions, FetchPredictions(run, registry));
  if (predictions.test.rows > 0) {
    ATELIER_RETURN_IF_ERROR(directory.WriteSubmission(predictions.test));
    const auto unread = std::count_if(
        run.dataset().quarantined().begin(), run.dataset().quarantined().end(),
        [](const v1::QuarantinedFile& file) { return file.file().starts_with("test/"); });
    if (unread > 0) {
      Say(absl::StrCat("submission.csv has no rows for ", unread,
                       " files of test/ that cannot be read (quarantine.csv names them): its rows "
                       "number the others"));
    }
  }
  const ReportData report = GatherReport(run, predictions, runs);
  for (const std::string& note : report.notes) Say("report: " + note);
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(directory.report(), RenderReport(report)));
  return directory.WriteResults(run);
}

}  // namespace atelier::cli
