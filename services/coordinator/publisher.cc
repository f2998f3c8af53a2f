#include "services/coordinator/publisher.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/ensemble/combine.h"
#include "common/ensemble/metrics.h"
#include "common/ensemble/npy.h"
#include "common/ensemble/preprocessing_digest.h"
#include "services/coordinator/plan.h"

namespace atelier::coordinator {
namespace {

std::vector<const v1::Task*> TasksOf(const RunRecord& record, const std::string& member) {
  std::vector<const v1::Task*> tasks;
  for (const v1::Task& task : record.tasks) {
    if (task.member() == member) tasks.push_back(&task);
  }
  return tasks;
}

std::vector<const v1::Task*> ChooseTasks(const RunRecord& record,
                                         std::vector<std::string>& warnings) {
  std::vector<const v1::Task*> chosen;
  std::set<std::string> labels;
  for (const v1::MemberSpec& member : record.run.plan().members()) {
    chosen.push_back(&ChooseTask(record, member.name(), warnings));
    labels.insert(chosen.back()->result().validation_labels_digest());
  }
  if (labels.size() > 1) {
    // Stages that split differently (undersampling) have other validation pictures: only one stage
    // gives every member the same rows.
    warnings.push_back(
        "members did best in stages with different validation pictures; the last stage is taken "
        "for all");
    for (size_t i = 0; i < chosen.size(); ++i) {
      chosen[i] = TasksOf(record, chosen[i]->member()).back();
    }
  }
  return chosen;
}

absl::Status ScoreMembers(const std::vector<const v1::Task*>& chosen, int classes,
                          artifacts::ArtifactStore& store, v1::EnsembleMetrics& metrics) {
  ATELIER_ASSIGN_OR_RETURN(const std::string label_bytes,
                           store.ReadAll(chosen.front()->result().validation_labels_digest()));
  ATELIER_ASSIGN_OR_RETURN(const std::vector<int> labels, ensemble::LabelsFromNpy(label_bytes));
  std::vector<ensemble::Probabilities> members;
  for (const v1::Task* task : chosen) {
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes,
                             store.ReadAll(task->result().validation_probabilities_digest()));
    ATELIER_ASSIGN_OR_RETURN(members.emplace_back(), ensemble::ProbabilitiesFromNpy(bytes));
    // A trainer wrote it.
    if (members.back().columns != classes) {
      return absl::DataLossError(absl::StrCat("the probabilities of ", task->member(), "/",
                                              task->stage(), " have ", members.back().columns,
                                              " columns, expected ", classes, " classes"));
    }
    ATELIER_ASSIGN_OR_RETURN(const ensemble::Metrics scored,
                             ensemble::Score(members.back(), labels));
    v1::MemberMetrics& member = *metrics.add_members();
    member.set_name(task->member());
    member.set_accuracy(scored.accuracy);
    member.set_log_loss(scored.log_loss);
  }
  ATELIER_ASSIGN_OR_RETURN(const ensemble::Probabilities mean, ensemble::Mean(members));
  ATELIER_ASSIGN_OR_RETURN(const ensemble::Metrics scored, ensemble::Score(mean, labels));
  metrics.set_images(scored.images);
  metrics.set_accuracy(scored.accuracy);
  metrics.set_log_loss(scored.log_loss);
  metrics.set_accuracy_low(scored.accuracy_interval.low);
  metrics.set_accuracy_high(scored.accuracy_interval.high);
  *metrics.mutable_confusion() = {scored.confusion.begin(), scored.confusion.end()};
  return absl::OkStatus();
}

}  // namespace

const v1::Task& ChooseTask(const RunRecord& record, const std::string& member,
                           std::vector<std::string>& warnings) {
  const v1::RunPlan& plan = record.run.plan();
  const std::vector<const v1::Task*> tasks = TasksOf(record, member);
  const v1::Task* last = tasks.back();
  const v1::Task* best = nullptr;
  for (const v1::Task* task : tasks) {
    // NaN: no validation part, nothing to compare by.
    const double loss = task->result().validation_loss();
    if (FindStage(plan, task->stage())->all_data() || std::isnan(loss)) continue;
    if (best == nullptr || loss <= best->result().validation_loss()) best = task;
  }
  if (best == nullptr || best == last || FindStage(plan, last->stage())->all_data()) return *last;
  const std::string text = absl::StrFormat(
      "%s: stage %s ended with val_loss %.4f, worse than %.4f of stage %s", member, last->stage(),
      last->result().validation_loss(), best->result().validation_loss(), best->stage());
  if (plan.recipe() == "seed") {
    warnings.push_back(
        text + "; recipe seed takes the last stage all the same, the earlier weights are kept");
    return *last;
  }
  warnings.push_back(text + ", whose weights are taken");
  return *best;
}

absl::StatusOr<PublishedRun> PreparePublication(const RunRecord& record,
                                                artifacts::ArtifactStore& store) {
  const v1::RunPlan& plan = record.run.plan();
  PublishedRun published;
  const std::vector<const v1::Task*> chosen = ChooseTasks(record, published.warnings);
  v1::EnsembleVersion& version = published.ensemble;
  version.set_name(plan.name());
  *version.mutable_classes() = plan.classes();
  version.set_combination(plan.combination());
  version.set_min_members(plan.min_members());
  version.set_run_id(record.run.run_id());
  for (const v1::Task* task : chosen) {
    v1::EnsembleMember& member = *version.add_members();
    member.set_name(task->member());
    *member.mutable_model() = ModelFor(plan, *FindMember(plan, task->member()));
    member.set_weights_digest(task->result().weights_digest());
    member.set_validation_accuracy(task->result().validation_accuracy());
    member.set_validation_loss(task->result().validation_loss());
  }
  version.set_preprocessing_digest(ensemble::PreprocessingDigest(version));
  if (!chosen.front()->result().validation_labels_digest().empty()) {
    ATELIER_RETURN_IF_ERROR(ScoreMembers(chosen, plan.classes_size(), store, published.metrics));
  }
  version.set_validation_accuracy(published.metrics.accuracy());
  version.set_validation_loss(published.metrics.log_loss());
  version.set_validation_images(published.metrics.images());
  return published;
}

}  // namespace atelier::coordinator
