#include "services/cli/train_plan.h"

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "services/cli/command.h"
#include "services/cli/recipe/recipe.h"
#include "services/cli/weights/progress_line.h"
#include "services/cli/weights/store.h"

namespace atelier::cli {
namespace {

void SetMembers(const std::vector<std::string>& backbones, v1::RunPlan& plan) {
  // A member that the recipe describes keeps its own image size and scaling.
  std::vector<v1::MemberSpec> known(plan.members().begin(), plan.members().end());
  plan.clear_members();
  for (const std::string& backbone : backbones) {
    v1::MemberSpec& member = *plan.add_members();
    for (const v1::MemberSpec& spec : known) {
      if (spec.name() == backbone || spec.backbone() == backbone) member = spec;
    }
    if (member.backbone().empty()) member.set_backbone(backbone);
    if (member.name().empty()) member.set_name(backbone);
  }
}

bool NeedsWeights(const v1::MemberSpec& member) {
  const auto info = nn::FindBackbone(member.backbone());
  return info.ok() && member.initial_weights_digest().empty() &&
         (info->has_imagenet_weights || CanFetchWeights(info->id));
}

absl::StatusOr<std::filesystem::path> Ensure(const v1::MemberSpec& member,
                                             const TrainOptions& options) {
  return EnsureWeights(member.backbone(), PrintWeightsProgress("atelier: "), options.offline);
}

}  // namespace

std::string NameFromFolder(const std::string& folder) {
  std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name;
  for (const char c : path.filename().string()) {
    const bool plain =
        absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
    if (plain && !(name.empty() && !absl::ascii_isalnum(static_cast<unsigned char>(c)))) name += c;
    if (!plain && !name.empty() && name.back() != '_') name += '_';
  }
  name = name.substr(0, 64);
  return IsSafeName(name) ? name : "ensemble";
}

absl::StatusOr<v1::RunPlan> BuildPlan(const TrainOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(v1::RunPlan plan, LoadRecipe(options.recipe));
  if (!options.members.empty()) SetMembers(options.members, plan);
  if (options.epochs.has_value()) {
    for (v1::StageSpec& stage : *plan.mutable_stages()) stage.set_epochs(*options.epochs);
  }
  // After --epochs: that is for all stages, this for one.
  for (const std::string& text : options.overrides) {
    ATELIER_RETURN_IF_ERROR(ApplyOverride(plan, text));
  }
  for (v1::MemberSpec& member : *plan.mutable_members()) {
    if (member.name().empty()) member.set_name(member.backbone());
    ATELIER_RETURN_IF_ERROR(nn::FindBackbone(member.backbone()).status());
  }
  if (plan.members().empty()) {
    return absl::InvalidArgumentError("the recipe names no members; add --members a,b");
  }
  if (!options.classes.empty()) {
    *plan.mutable_classes() = {options.classes.begin(), options.classes.end()};
  }
  if (options.seed.has_value()) plan.set_seed(*options.seed);
  if (options.checkpoint_seconds.has_value()) {
    plan.set_checkpoint_seconds(*options.checkpoint_seconds);
  }
  if (options.threads.has_value()) plan.set_threads(*options.threads);
  if (options.deterministic) plan.set_deterministic(true);
  if (options.promote) plan.set_promote(true);
  if (!options.name.empty()) plan.set_name(options.name);
  if (plan.name().empty() && options.coordinator.empty())
    plan.set_name(NameFromFolder(options.data));
  if (!plan.name().empty() && !IsSafeName(plan.name())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--name \"", plan.name(), "\": letters, digits, '.', '_' and '-', at most 64"));
  }
  plan.set_dataset(options.coordinator.empty() ? "." : options.data);
  return plan;
}

absl::Status EnsureAllWeights(const v1::RunPlan& plan, const TrainOptions& options) {
  if (options.no_pretrained) return absl::OkStatus();
  for (const v1::MemberSpec& member : plan.members()) {
    if (NeedsWeights(member)) ATELIER_RETURN_IF_ERROR(Ensure(member, options).status());
  }
  return absl::OkStatus();
}

absl::Status ProvideWeights(v1::RunPlan& plan, const TrainOptions& options,
                            coordinator::RegistryClient& registry) {
  if (options.no_pretrained) return absl::OkStatus();
  for (v1::MemberSpec& member : *plan.mutable_members()) {
    if (!NeedsWeights(member)) continue;
    ATELIER_ASSIGN_OR_RETURN(const std::filesystem::path path, Ensure(member, options));
    const absl::StatusOr<std::string> digest = registry.PutFile(path);
    if (!digest.ok()) return Annotate(digest.status(), "uploading weights of " + member.backbone());
    member.set_initial_weights_digest(*digest);
  }
  return absl::OkStatus();
}

}  // namespace atelier::cli
