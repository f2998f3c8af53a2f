#include "services/coordinator/plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "common/rpc/limits.h"

namespace atelier::coordinator {
namespace {

constexpr int kMaxMembers = 32;
constexpr int kMaxStages = 8;
constexpr int kMaxBatch = 1024;
constexpr int kMinSize = 16;
constexpr int kMaxSize = 1024;
constexpr int kMaxEpochs = 10'000;
constexpr int kDefaultBatch = 20;
constexpr int kDefaultSize = 200;
constexpr int kDefaultCheckpointSeconds = 60;
constexpr int kDefaultAttempts = 5;
constexpr double kDefaultBadSampleBudget = 0.05;
// The model name of all members together; a version with a member of that name is refused.
constexpr char kWholeEnsemble[] = "ensemble";

template <typename T>
absl::Status OutOfRange(const std::string& field, T value, std::string_view allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; allowed: ", std::string(allowed)));
}

template <typename T>
absl::Status CheckRange(const std::string& field, T value, T low, T high) {
  if (!(value >= low && value <= high)) {
    return OutOfRange(field, value, absl::StrCat(low, "..", high));
  }
  return absl::OkStatus();
}

absl::Status CheckImage(const std::string& field, const v1::ImageSpec& image) {
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".size", image.size(), kMinSize, kMaxSize));
  if (image.channels() != 1 && image.channels() != 3) {
    return OutOfRange(field + ".channels", image.channels(), "1 or 3");
  }
  return absl::OkStatus();
}

v1::ImageSpec CompleteImage(v1::ImageSpec image, const v1::ImageSpec& fallback) {
  if (image.size() == 0) image.set_size(fallback.size());
  if (image.filter() == v1::RESIZE_FILTER_UNSPECIFIED) image.set_filter(fallback.filter());
  if (image.channels() == 0) image.set_channels(fallback.channels());
  return image;
}

// With the classes that are known so far: none before the dataset is.
absl::Status CheckBatchBytes(const v1::RunPlan& plan, const v1::ImageSpec& image) {
  const int64_t picture = int64_t{image.size()} * image.size() * image.channels();
  const int64_t bytes = rpc::BatchMessageBytes(plan.batch_size(), picture, plan.classes_size());
  if (bytes <= rpc::kPictureReceiveBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "batch_size ", plan.batch_size(), " of ", image.size(), " px pictures",
      plan.classes().empty() ? "" : absl::StrCat(" and ", plan.classes_size(), " classes"), " is ",
      bytes, " bytes, over the message limit of ", rpc::kPictureReceiveBytes,
      "; make batch_size or image.size smaller"));
}

absl::Status CompleteMembers(v1::RunPlan& plan) {
  if (plan.members().empty() || plan.members_size() > kMaxMembers) {
    return OutOfRange("members", plan.members_size(), absl::StrCat("1..", kMaxMembers, " members"));
  }
  std::set<std::string> names;
  for (int i = 0; i < plan.members_size(); ++i) {
    v1::MemberSpec& member = *plan.mutable_members(i);
    const std::string field = absl::StrCat("members[", i, "]");
    ATELIER_ASSIGN_OR_RETURN(const nn::BackboneInfo info, nn::FindBackbone(member.backbone()));
    if (member.name().empty()) member.set_name(member.backbone());
    if (!IsSafeName(member.name()) || member.name() == kWholeEnsemble ||
        !names.insert(member.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, ".name must be unique letters, digits, '.', '_' or '-', at most 64, and not \"",
          kWholeEnsemble, "\""));
    }
    *member.mutable_image() = CompleteImage(member.image(), plan.image());
    if (member.scaling() == v1::SCALING_UNSPECIFIED) member.set_scaling(plan.scaling());
    ATELIER_RETURN_IF_ERROR(CheckImage(field + ".image", member.image()));
    if (member.image().size() < info.min_size) {
      return OutOfRange(field + ".image.size", member.image().size(),
                        absl::StrCat("at least ", info.min_size, " for ", info.id));
    }
    ATELIER_RETURN_IF_ERROR(CheckBatchBytes(plan, member.image()));
    if (!member.initial_weights_digest().empty() && !IsSha256Hex(member.initial_weights_digest())) {
      return absl::InvalidArgumentError(field + ".initial_weights_digest is not a SHA-256 in hex");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAugmentation(const std::string& field, const v1::AugmentationSpec& a) {
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".brightness_min", a.brightness_min(), 0.0F, 10.0F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".brightness_max", a.brightness_max(), a.brightness_min(), 10.0F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".rotation_degrees", a.rotation_degrees(), 0.0F, 180.0F));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".shear_degrees", a.shear_degrees(), 0.0F, 80.0F));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".zoom", a.zoom(), 0.0F, 0.9F));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".width_shift", a.width_shift(), 0.0F, 1.0F));
  return CheckRange(field + ".height_shift", a.height_shift(), 0.0F, 1.0F);
}

absl::Status CompleteStage(const std::string& field, v1::StageSpec& stage) {
  if (!IsSafeName(stage.name())) {
    return absl::InvalidArgumentError(field + ".name is missing or not a plain name");
  }
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".epochs", stage.epochs(), 1, kMaxEpochs));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".early_stopping_patience",
                                     stage.early_stopping_patience(), 0, kMaxEpochs));
  v1::OptimizerSpec& optimizer = *stage.mutable_optimizer();
  if (optimizer.beta1() == 0) optimizer.set_beta1(0.9F);
  if (optimizer.beta2() == 0) optimizer.set_beta2(0.999F);
  if (optimizer.epsilon() == 0) optimizer.set_epsilon(1e-7F);
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".optimizer.learning_rate", optimizer.learning_rate(), 1e-10F, 10.0F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".optimizer.beta1", optimizer.beta1(), 0.0F, 0.99999F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".optimizer.beta2", optimizer.beta2(), 0.0F, 0.99999F));
  v1::ScheduleSpec& schedule = *stage.mutable_schedule();
  if (schedule.reduce_on_plateau() && schedule.cosine()) {
    return absl::InvalidArgumentError(field +
                                      ".schedule: choose reduce_on_plateau or cosine, not both");
  }
  if (schedule.factor() == 0) schedule.set_factor(0.5F);
  if (schedule.min_lr() == 0) schedule.set_min_lr(1e-6F);
  if (schedule.min_delta() == 0) schedule.set_min_delta(1e-4F);
  if (schedule.patience() == 0) {
    schedule.set_patience(std::max(1, stage.early_stopping_patience() / 2));
  }
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".optimizer.epsilon", optimizer.epsilon(), 0.0F, 1.0F));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".schedule.factor", schedule.factor(), 1e-6F, 1.0F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".schedule.patience", schedule.patience(), 1, kMaxEpochs));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".schedule.min_lr", schedule.min_lr(), 0.0F, 10.0F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".schedule.min_delta", schedule.min_delta(), 0.0F, 1e6F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".schedule.warmup_steps", schedule.warmup_steps(), 0, 1'000'000'000));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".cutmix.alpha", stage.cutmix().alpha(), 0.0F, 100.0F));
  ATELIER_RETURN_IF_ERROR(CheckRange(field + ".cutmix.off_after_epoch",
                                     stage.cutmix().off_after_epoch(), 0, kMaxEpochs));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".label_smoothing", stage.label_smoothing(), 0.0F, 0.5F));
  ATELIER_RETURN_IF_ERROR(
      CheckRange(field + ".cutmix.probability", stage.cutmix().probability(), 0.0F, 1.0F));
  return CheckAugmentation(field + ".augmentation", stage.augmentation());
}

absl::Status CompleteStages(v1::RunPlan& plan) {
  if (plan.stages().empty() || plan.stages_size() > kMaxStages) {
    return OutOfRange("stages", plan.stages_size(), absl::StrCat("1..", kMaxStages, " stages"));
  }
  std::set<std::string> names;
  for (int i = 0; i < plan.stages_size(); ++i) {
    v1::StageSpec& stage = *plan.mutable_stages(i);
    ATELIER_RETURN_IF_ERROR(CompleteStage(absl::StrCat("stages[", i, "]"), stage));
    if (!names.insert(stage.name()).second) {
      return absl::InvalidArgumentError("stages: two are named " + stage.name());
    }
  }
  return absl::OkStatus();
}

void FillDefaults(v1::RunPlan& plan) {
  if (plan.dataset().empty()) plan.set_dataset(".");
  if (plan.image().size() == 0) plan.mutable_image()->set_size(kDefaultSize);
  if (plan.image().filter() == v1::RESIZE_FILTER_UNSPECIFIED) {
    plan.mutable_image()->set_filter(v1::AREA);
  }
  if (plan.image().channels() == 0) plan.mutable_image()->set_channels(3);
  if (plan.scaling() == v1::SCALING_UNSPECIFIED) plan.set_scaling(v1::AUTO);
  if (plan.batch_size() == 0) plan.set_batch_size(kDefaultBatch);
  if (plan.checkpoint_seconds() == 0) plan.set_checkpoint_seconds(kDefaultCheckpointSeconds);
  if (plan.max_attempts() == 0) plan.set_max_attempts(kDefaultAttempts);
  if (plan.bad_sample_budget() == 0) plan.set_bad_sample_budget(kDefaultBadSampleBudget);
  if (plan.time_zone().empty()) plan.set_time_zone("Asia/Seoul");
  if (plan.precision() == v1::PRECISION_UNSPECIFIED) plan.set_precision(v1::AUTO_PRECISION);
  if (plan.combination() == v1::COMBINATION_UNSPECIFIED) plan.set_combination(v1::MEAN);
}

uint64_t MemberSeed(uint64_t seed, const std::string& member) {
  uint64_t value = 0;
  const std::string hex = Sha256Hex(absl::StrCat(seed, "/", member)).substr(0, 16);
  return absl::SimpleHexAtoi(hex, &value) ? value : seed;
}

v1::DataPlan BaseDataPlan(const v1::Run& run, const v1::MemberSpec& member,
                          const v1::StageSpec& stage) {
  const v1::RunPlan& plan = run.plan();
  v1::DataPlan data;
  data.set_dataset(plan.dataset());
  data.set_dataset_digest(plan.dataset_digest());
  data.mutable_split()->set_validation_fraction(plan.validation_fraction());
  data.mutable_split()->set_seed(plan.seed());
  data.mutable_split()->set_undersample(stage.undersample());
  *data.mutable_image() = member.image();
  data.set_batch_size(plan.batch_size());
  data.set_seed(plan.seed());
  *data.mutable_classes() = plan.classes();
  return data;
}

// n / (k * n_c), as scikit-learn's "balanced".
void SetClassWeights(const v1::Run& run, const v1::StageSpec& stage, v1::Assignment& assignment) {
  if (stage.class_weights() != v1::BALANCED || stage.undersample()) return;
  double total = 0;
  std::vector<double> counts;
  for (const std::string& name : run.plan().classes()) {
    const auto count = std::find_if(run.dataset().classes().begin(), run.dataset().classes().end(),
                                    [&](const v1::ClassCount& c) { return c.name() == name; });
    const bool found = count != run.dataset().classes().end();
    counts.push_back(!found ? 0 : stage.all_data() ? count->found() : count->training());
    total += counts.back();
  }
  for (const double count : counts) {
    assignment.add_class_weights(count > 0 ? total / (static_cast<double>(counts.size()) * count)
                                           : 0.0);
  }
}

}  // namespace

absl::StatusOr<v1::RunPlan> CompletePlan(v1::RunPlan plan) {
  FillDefaults(plan);
  ATELIER_RETURN_IF_ERROR(CheckImage("image", plan.image()));
  ATELIER_RETURN_IF_ERROR(CheckRange("batch_size", plan.batch_size(), 1, kMaxBatch));
  ATELIER_RETURN_IF_ERROR(CheckRange("validation_fraction", plan.validation_fraction(), 0.0, 0.9));
  ATELIER_RETURN_IF_ERROR(CheckRange("head.dropout", plan.head().dropout(), 0.0F, 0.99F));
  ATELIER_RETURN_IF_ERROR(CheckRange("head.hidden_units", plan.head().hidden_units(), 0, 65'536));
  ATELIER_RETURN_IF_ERROR(CheckRange("head.l2", plan.head().l2(), 0.0F, 1000.0F));
  ATELIER_RETURN_IF_ERROR(CheckRange("threads", plan.threads(), 0, 1024));
  ATELIER_RETURN_IF_ERROR(CheckRange("bad_sample_budget", plan.bad_sample_budget(), 0.0, 1.0));
  ATELIER_RETURN_IF_ERROR(CheckRange("checkpoint_seconds", plan.checkpoint_seconds(), 1, 86'400));
  ATELIER_RETURN_IF_ERROR(CheckRange("max_attempts", plan.max_attempts(), 1, 1000));
  ATELIER_RETURN_IF_ERROR(CompleteMembers(plan));
  ATELIER_RETURN_IF_ERROR(CheckRange("min_members", plan.min_members(), 0, plan.members_size()));
  ATELIER_RETURN_IF_ERROR(CompleteStages(plan));
  if (!plan.name().empty() && !IsSafeName(plan.name())) {
    return absl::InvalidArgumentError(
        "name: letters, digits, '.', '_' and '-', at most 64, first a letter or digit");
  }
  return plan;
}

v1::DescribeDatasetRequest DescribeRequest(const v1::RunPlan& plan) {
  v1::DescribeDatasetRequest request;
  request.set_dataset(plan.dataset());
  request.set_bad_sample_budget(plan.bad_sample_budget());
  *request.mutable_classes() = plan.classes();
  request.mutable_split()->set_validation_fraction(plan.validation_fraction());
  request.mutable_split()->set_seed(plan.seed());
  return request;
}

namespace {

// An undersampled stage splits what is left of each class, which the data-service sees at its first
// batch only: after the stages before it.
absl::Status CheckUndersampledSplits(const v1::RunPlan& plan, const v1::DatasetSummary& summary) {
  const int64_t classes = summary.classes_size();
  const auto smallest =
      std::min_element(summary.classes().begin(), summary.classes().end(),
                       [](const auto& a, const auto& b) { return a.found() < b.found(); });
  const int64_t left = classes * smallest->found();
  const auto validation =
      static_cast<int64_t>(std::ceil(plan.validation_fraction() * static_cast<double>(left)));
  if (validation >= classes && left - validation >= classes) return absl::OkStatus();
  for (const v1::StageSpec& stage : plan.stages()) {
    if (!stage.undersample() || plan.validation_fraction() == 0) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "stage ", stage.name(), " undersamples to ", smallest->found(), " pictures of each of the ",
        classes, " classes (as many as ", smallest->name(), " has), of which validation_fraction ",
        plan.validation_fraction(), " sets ", validation,
        " aside; training and validation each need one of every class: change "
        "validation_fraction, add pictures or set undersample: false"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::RunPlan> BindDataset(v1::RunPlan plan, const v1::DatasetSummary& summary) {
  if (summary.classes_size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the dataset has ", summary.classes_size(),
                     " labelled classes; at least 2 are needed (DIR/<class>/*.jpg; `atelier data "
                     "inspect` says what was recognised)"));
  }
  if (plan.classes().empty()) {
    for (const v1::ClassCount& count : summary.classes()) plan.add_classes(count.name());
  }
  for (const v1::MemberSpec& member : plan.members()) {
    ATELIER_RETURN_IF_ERROR(CheckBatchBytes(plan, member.image()));
  }
  ATELIER_RETURN_IF_ERROR(CheckUndersampledSplits(plan, summary));
  plan.set_dataset_digest(summary.digest());
  if (plan.name().empty()) {
    plan.set_name(IsSafeName(summary.folder_name()) ? summary.folder_name() : "ensemble");
  }
  return plan;
}

std::vector<v1::Task> ExpandTasks(const v1::RunPlan& plan) {
  std::vector<v1::Task> tasks;
  for (const v1::MemberSpec& member : plan.members()) {
    for (const v1::StageSpec& stage : plan.stages()) {
      v1::Task& task = tasks.emplace_back();
      task.set_member(member.name());
      task.set_stage(stage.name());
      task.set_state(v1::TASK_WAITING);
    }
  }
  return tasks;
}

const v1::StageSpec* FindStage(const v1::RunPlan& plan, const std::string& stage) {
  for (const v1::StageSpec& spec : plan.stages()) {
    if (spec.name() == stage) return &spec;
  }
  return nullptr;
}

const v1::MemberSpec* FindMember(const v1::RunPlan& plan, const std::string& member) {
  for (const v1::MemberSpec& spec : plan.members()) {
    if (spec.name() == member) return &spec;
  }
  return nullptr;
}

v1::ModelSpec ModelFor(const v1::RunPlan& plan, const v1::MemberSpec& member) {
  v1::ModelSpec model;
  model.set_backbone(member.backbone());
  *model.mutable_head() = plan.head();
  model.set_scaling(member.scaling());
  *model.mutable_image() = member.image();
  model.set_classes(plan.classes_size());
  return model;
}

v1::Assignment AssignmentFor(const v1::Run& run, const v1::Task& task) {
  const v1::RunPlan& plan = run.plan();
  const v1::MemberSpec& member = *FindMember(plan, task.member());
  const v1::StageSpec& stage = *FindStage(plan, task.stage());
  v1::Assignment assignment;
  *assignment.mutable_plan() = plan;
  *assignment.mutable_stage() = stage;
  *assignment.mutable_model() = ModelFor(plan, member);

  v1::DataPlan& training = *assignment.mutable_training();
  training = BaseDataPlan(run, member, stage);
  training.set_subset(stage.all_data() ? v1::ALL_LABELED : v1::TRAINING);
  *training.mutable_augmentation() = stage.augmentation();
  *training.mutable_cutmix() = stage.cutmix();
  training.set_shuffle(true);
  if (plan.validation_fraction() > 0) {
    *assignment.mutable_validation() = BaseDataPlan(run, member, stage);
    assignment.mutable_validation()->set_subset(v1::VALIDATION);
  }
  if (run.dataset().test() > 0) {
    *assignment.mutable_test() = BaseDataPlan(run, member, stage);
    assignment.mutable_test()->set_subset(v1::TEST);
  }
  SetClassWeights(run, stage, assignment);
  assignment.set_member_seed(MemberSeed(plan.seed(), member.name()));
  assignment.set_checkpoint_seconds(plan.checkpoint_seconds());
  assignment.set_time_zone(plan.time_zone());
  if (task.has_environment()) *assignment.mutable_environment() = task.environment();
  return assignment;
}

}  // namespace atelier::coordinator
