// atelier train: pictures and a recipe in, a run directory with an ensemble and a report out.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/vision/limit_flags.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/pictures.h"
#include "services/cli/recipe/recipe.h"
#include "services/cli/train_plan.h"
#include "services/cli/training_session.h"

namespace atelier::cli {
namespace {

constexpr char kExamples[] =
    "  atelier train --data paintings                     # recipe fast, all on this machine\n"
    "  atelier train --data paintings --recipe fast --members xception,efficientnet_lite0 --out "
    "run1\n"
    "  atelier train --data paintings --recipe seed --set stages.train.epochs=20\n"
    "  atelier train --data paintings --recipe my.yaml --name paintings --promote\n"
    "  atelier train --data . --coordinator 127.0.0.1:7070 --out run2    # on a fleet\n"
    "Ctrl-C keeps a checkpoint and prints the command that goes on.\n"
    "A recipe file is YAML; run1/recipe.yaml is one to begin with.";

std::string DefaultOut(const v1::RunPlan& plan) {
  return absl::StrCat("runs/", plan.name(), "-",
                      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()));
}

void SayDataset(const v1::DatasetSummary& dataset) {
  std::string text =
      absl::StrCat(Grouped(dataset.labeled()), " pictures of ", dataset.classes_size(), " classes");
  if (dataset.test() > 0) absl::StrAppend(&text, ", ", Grouped(dataset.test()), " test pictures");
  if (dataset.quarantined_size() > 0) {
    absl::StrAppend(&text, ", ", dataset.quarantined_size(), " quarantined");
  }
  if (dataset.duplicates_size() > 0) {
    absl::StrAppend(&text, ", ", dataset.duplicates_size(),
                    dataset.duplicates_size() == 1 ? " copy dropped" : " copies dropped");
  }
  Say(text);
}

// A fleet carries the run out whatever happens here, and only its id finds it again.
absl::Status GoesOn(const RunOrigin& origin, const absl::Status& error) {
  const std::string there = absl::StrCat(origin.run_id, " --coordinator ", origin.coordinator);
  return absl::Status(
      error.code(),
      absl::StrCat("run ", origin.run_id, " was submitted and goes on, but --out ",
                   "cannot be written: ", error.message(), "\n  watch:  atelier runs watch ", there,
                   "\n  cancel: atelier runs cancel ", there));
}

int SubmitAndFollow(TrainingSession& session, RunOrigin origin,
                    const std::optional<RunDirectory>& directory, v1::RunPlan plan,
                    const TrainOptions& options, Context& context) {
  const absl::Status weights = ProvideWeights(plan, options, session.registry());
  if (!weights.ok()) return Fail(weights);
  const absl::Status ready = session.AwaitDataService();
  if (!ready.ok()) return Fail(ready);
  Say("reading the pictures");
  const absl::StatusOr<v1::SubmitRunResponse> submitted = session.runs().Submit(plan);
  if (!submitted.ok()) {
    return absl::IsInvalidArgument(submitted.status()) ? Misuse(submitted.status())
                                                       : Fail(submitted.status());
  }
  SayDataset(submitted->dataset());
  origin.run_id = submitted->run_id();
  if (directory.has_value()) {
    const absl::Status kept = directory->WriteOrigin(origin);
    if (!kept.ok()) return Fail(origin.coordinator.empty() ? kept : GoesOn(origin, kept));
    Say(absl::StrCat("run ", origin.run_id, " in ", directory->path().string()));
  } else {
    Say(absl::StrCat("run ", origin.run_id, " at ", options.coordinator));
  }
  return session.Follow(origin.run_id, context, options.json, /*from_start=*/true);
}

int TrainRemote(const TrainOptions& options, const v1::RunPlan& plan, Context& context) {
  std::optional<RunDirectory> directory;
  if (!options.out.empty()) {
    absl::StatusOr<RunDirectory> created = RunDirectory::Create(options.out);
    if (!created.ok()) return Fail(created.status());
    directory = *created;
  }
  const auto session = TrainingSession::OpenRemote(options.coordinator, directory);
  return SubmitAndFollow(*session, {"", options.data, options.coordinator}, directory, plan,
                         options, context);
}

int TrainHere(const TrainOptions& options, const v1::RunPlan& plan, Context& context) {
  const absl::StatusOr<std::filesystem::path> data = ExistingFolder(options.data);
  if (!data.ok()) return ExitCode(data.status());
  const absl::Status weights = EnsureAllWeights(plan, options);
  if (!weights.ok()) return Fail(weights);
  const absl::StatusOr<RunDirectory> directory =
      RunDirectory::Create(options.out.empty() ? DefaultOut(plan) : options.out);
  if (!directory.ok()) return Fail(directory.status());
  const RunOrigin origin{"", *data, ""};
  // Before anything else, so that whatever happens the folder says what it is.
  const absl::Status kept = directory->WriteOrigin(origin);
  if (!kept.ok()) return Fail(kept);
  absl::StatusOr<std::unique_ptr<DirectoryLock>> lock = directory->Lock();
  // Another found it new or empty as well, and was faster: nothing of it is ours to remove.
  if (!lock.ok()) return Fail(lock.status());
  int code = kFailed;
  {
    const auto session =
        TrainingSession::OpenEmbedded(*directory, *std::move(lock), *data, options.limits);
    code = session.ok() ? SubmitAndFollow(**session, origin, *directory, plan, options, context)
                        : Fail(session.status());
  }
  if (code == kFailed || code == kWrongUsage) directory->RemoveIfUnused();
  return code;
}

int Train(const TrainOptions& options, Context& context) {
  const absl::StatusOr<v1::RunPlan> plan = BuildPlan(options);
  if (!plan.ok()) return Misuse(plan.status());
  return options.coordinator.empty() ? TrainHere(options, *plan, context)
                                     : TrainRemote(options, *plan, context);
}

std::string RecipeNames() {
  std::string names;
  for (const BuiltinRecipe& recipe : BuiltinRecipes()) {
    absl::StrAppend(&names, std::string(recipe.name), ", ");
  }
  return names + "or a YAML file";
}

}  // namespace

void AddTrainCommand(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(app, "train", "Train an ensemble on a folder of pictures", kExamples);
  auto options = std::make_shared<TrainOptions>();
  verb->add_option(
          "--data", options->data,
          "Folder of pictures: class folders, or train/ and test/, or a CSV with a flat "
          "folder, or files CLASS_name.ext; with --coordinator a path inside its data root")
      ->required()
      ->type_name("DIR");
  verb->add_option("--recipe", options->recipe, RecipeNames())
      ->type_name("NAME|FILE")
      ->capture_default_str();
  verb->add_option("--members", options->members, "Backbones, instead of the recipe's")
      ->delimiter(',')
      ->type_name("A,B");
  verb->add_option("--out", options->out,
                   "Run directory to make; default runs/NAME-TIME, with --coordinator none: "
                   "nothing is fetched")
      ->type_name("RUN");
  verb->add_option("--name", options->name, "Name of the ensemble; default: the data folder's");
  verb->add_option("--coordinator", options->coordinator, "Train on this coordinator's fleet")
      ->type_name("HOST:PORT");
  verb->add_option("--classes", options->classes, "Order of the classes; default: by name")
      ->delimiter(',')
      ->type_name("A,B");
  verb->add_option("--set", options->overrides,
                   "Change one field of the recipe, e.g. stages.train.epochs=3; may be repeated")
      ->type_name("PATH=VALUE")
      ->take_all();
  verb->add_option("--epochs", options->epochs, "Epochs of every stage")
      ->check(CLI::Range(1, 10'000));
  verb->add_option("--seed", options->seed, "Of split, shuffle, augmentation and new layers");
  verb->add_option("--checkpoint-seconds", options->checkpoint_seconds,
                   "Between two checkpoints in an epoch (default 60)")
      ->check(CLI::Range(1, 86'400));
  verb->add_option("--threads", options->threads, "Threads of a task on a CPU; 0: all")
      ->check(CLI::Range(0, 1024));
  verb->add_flag("--deterministic", options->deterministic,
                 "Same bytes on every run of this build on the same kind of machine");
  verb->add_flag("--promote", options->promote,
                 "Serve the new version from now on, even when the name has one");
  verb->add_flag("--offline", options->offline,
                 "Download nothing: when weights are missing, print the command that gets them");
  verb->add_flag("--no-pretrained", options->no_pretrained,
                 "Start from seeded random weights instead of ImageNet's");
  verb->add_flag("--json", options->json, "One JSON document on standard output at the end");
  vision::AddPictureLimitFlags(*verb, options->limits);
  verb->callback([options, &context] { context.exit_code = Train(*options, context); });
}

}  // namespace atelier::cli
