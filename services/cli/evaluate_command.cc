// atelier evaluate: an ensemble and its members against labelled pictures.
#include <cstdio>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/ensemble/metrics.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/labeled_pictures.h"
#include "services/cli/pictures.h"
#include "services/cli/prediction_session.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

constexpr char kExamples[] =
    "  atelier evaluate --ensemble runs/paintings --data held-out\n"
    "  atelier evaluate --ensemble paintings@2 --data held-out --json | jq .ensemble.accuracy";

struct Options {
  PredictionTarget target;
  std::string data;
  bool json = false;
};

absl::StatusOr<v1::EnsembleMetrics> Score(const PredictionSession& session,
                                          const Predictions& predictions,
                                          const std::vector<int>& labels) {
  v1::EnsembleMetrics metrics;
  ATELIER_ASSIGN_OR_RETURN(const ensemble::Metrics combined,
                           ensemble::Score(predictions.combined, labels));
  metrics.set_images(combined.images);
  metrics.set_accuracy(combined.accuracy);
  metrics.set_log_loss(combined.log_loss);
  metrics.set_accuracy_low(combined.accuracy_interval.low);
  metrics.set_accuracy_high(combined.accuracy_interval.high);
  *metrics.mutable_confusion() = {combined.confusion.begin(), combined.confusion.end()};
  for (const v1::EnsembleMember& member : session.ensemble.members()) {
    const auto found = predictions.members.find(member.name());
    if (found == predictions.members.end()) continue;
    ATELIER_ASSIGN_OR_RETURN(const ensemble::Metrics scored,
                             ensemble::Score(found->second, labels));
    v1::MemberMetrics& added = *metrics.add_members();
    added.set_name(member.name());
    added.set_accuracy(scored.accuracy);
    added.set_log_loss(scored.log_loss);
  }
  return metrics;
}

void PrintMetrics(const v1::EnsembleMetrics& metrics, const std::vector<std::string>& classes,
                  const std::string& version) {
  std::printf("%s on %s pictures, 95 %% Wilson interval in brackets\n\n", version.c_str(),
              Grouped(metrics.images()).c_str());
  std::vector<std::vector<std::string>> rows = {{"", "accuracy", "log loss"}};
  rows.push_back({"ensemble", PercentWithInterval(metrics.accuracy(), metrics.images()),
                  absl::StrFormat("%.4f", metrics.log_loss())});
  for (const v1::MemberMetrics& member : metrics.members()) {
    rows.push_back({"  " + member.name(), PercentWithInterval(member.accuracy(), metrics.images()),
                    absl::StrFormat("%.4f", member.log_loss())});
  }
  std::fputs(Table(rows, {2}).c_str(), stdout);
  std::vector<std::vector<std::string>> confusion = {{"truth \\ predicted"}};
  std::vector<size_t> right;
  const auto k = static_cast<int>(classes.size());
  if (!HasConfusion(metrics, k)) {
    std::printf("\nno confusion matrix: more than %d classes\n", ensemble::kMaxConfusionClasses);
    return;
  }
  for (int i = 0; i < k; ++i) {
    confusion[0].push_back(classes[static_cast<size_t>(i)]);
    right.push_back(static_cast<size_t>(i) + 1);
    std::vector<std::string> row = {classes[static_cast<size_t>(i)]};
    for (int j = 0; j < k; ++j) row.push_back(absl::StrCat(metrics.confusion(i * k + j)));
    confusion.push_back(std::move(row));
  }
  std::printf("\n%s", Table(confusion, right).c_str());
}

absl::Status Evaluate(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(PredictionSession session, OpenPredictionSession(options.target));
  ATELIER_ASSIGN_OR_RETURN(
      const LabeledPictures pictures,
      FindLabeledPictures(options.data, session.classes, options.target.limits));
  PredictOptions how;
  how.want_members = true;
  how.limits = options.target.limits;
  how.on_progress = ShowPictureProgress;
  ATELIER_ASSIGN_OR_RETURN(const Predictions predictions,
                           PredictPictures(*session.client, pictures.files, how));
  if (predictions.degraded) {
    return absl::UnavailableError(absl::StrCat("the answers are degraded, without ",
                                               absl::StrJoin(predictions.members_failed, ", "),
                                               "; an evaluation needs every member"));
  }
  std::vector<int> labels;
  for (const size_t index : predictions.indexes) labels.push_back(pictures.labels[index]);
  ATELIER_ASSIGN_OR_RETURN(const v1::EnsembleMetrics metrics, Score(session, predictions, labels));
  if (options.json) {
    PrintJson(MetricsToJson(metrics, session.classes));
  } else {
    PrintMetrics(metrics, session.classes, predictions.ensemble_version);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Context& context) {
  CLI::App* verb =
      AddVerb(app, "evaluate", "Score an ensemble and its members on labelled pictures", kExamples);
  auto options = std::make_shared<Options>();
  AddTargetOptions(*verb, options->target);
  verb->add_option(
          "--data", options->data,
          "Folder with labelled pictures, any layout that `atelier data inspect` recognises")
      ->required()
      ->type_name("DIR");
  verb->add_flag("--json", options->json, "One JSON document on standard output");
  verb->callback([options, &context] { context.exit_code = ExitCode(Evaluate(*options)); });
}

}  // namespace atelier::cli
