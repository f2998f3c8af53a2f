// atelier runs list|show|watch|cancel|resume
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/vision/limit_flags.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/inexact_text.h"
#include "services/cli/pictures.h"
#include "services/cli/run_directory.h"
#include "services/cli/run_index.h"
#include "services/cli/run_json.h"
#include "services/cli/training_session.h"

namespace atelier::cli {
namespace {

struct Options {
  std::string run;
  std::string coordinator;
  std::string data;
  std::string reason = "cancelled by the user";
  vision::DecodeLimits limits;  // of pictures, when a run goes on here
  bool json = false;
};

void AddCommon(CLI::App& verb, Options& options, bool run_required) {
  CLI::Option* run =
      verb.add_option("run", options.run, "Run directory, or with --coordinator a run's id");
  run->type_name("RUN");
  if (run_required) run->required();
  verb.add_option("--coordinator", options.coordinator, "Ask this coordinator")
      ->type_name("HOST:PORT");
}

// Trained inside a process that is gone: after Ctrl-C, a kill or a power cut.
bool Stopped(const RunDirectory& directory, const v1::Run& run) {
  if (run.state() != v1::RUN_RUNNING || directory.InUse()) return false;
  const absl::StatusOr<RunOrigin> origin = directory.ReadOrigin();
  return origin.ok() && origin->coordinator.empty();
}

struct Shown {
  v1::Run run;
  std::string state;
};

Shown AsShown(v1::Run run, bool stopped) {
  const std::string state = stopped ? "stopped" : StateName(run.state());
  for (v1::Task& task : *run.mutable_tasks()) {
    if (!stopped || task.state() != v1::TASK_RUNNING) continue;
    task.set_state(v1::TASK_WAITING);
    for (v1::Attempt& attempt : *task.mutable_attempts()) {
      if (attempt.end_kind() == v1::ATTEMPT_END_UNSPECIFIED) attempt.set_end_kind(v1::ATTEMPT_LOST);
    }
  }
  return {std::move(run), state};
}

absl::StatusOr<Shown> LoadRun(const Options& options) {
  if (!RunDirectory::IsRunDirectory(options.run) && !options.coordinator.empty()) {
    const auto session = TrainingSession::OpenRemote(options.coordinator, std::nullopt);
    ATELIER_ASSIGN_OR_RETURN(v1::Run run, session->runs().Get(options.run));
    return AsShown(std::move(run), false);
  }
  ATELIER_ASSIGN_OR_RETURN(const RunDirectory directory, RunDirectory::Open(options.run));
  ATELIER_ASSIGN_OR_RETURN(v1::Run run, directory.ReadRun());
  const absl::StatusOr<RunOrigin> origin = directory.ReadOrigin();
  // Started on a fleet and not fetched yet: the coordinator knows more.
  if (origin.ok() && !origin->coordinator.empty() && run.state() == v1::RUN_RUNNING) {
    const auto session = TrainingSession::OpenRemote(origin->coordinator, std::nullopt);
    absl::StatusOr<v1::Run> there = session->runs().Get(origin->run_id);
    if (there.ok()) return AsShown(*std::move(there), false);
  }
  const bool stopped = Stopped(directory, run);
  return AsShown(std::move(run), stopped);
}

// Where the run of a directory or an id lives, without starting anything.
struct Remote {
  std::string coordinator;
  std::string run_id;
};
absl::StatusOr<Remote> RemoteOf(const Options& options) {
  if (!RunDirectory::IsRunDirectory(options.run)) {
    if (!options.coordinator.empty()) return Remote{options.coordinator, options.run};
    return absl::NotFoundError(absl::StrCat(
        options.run, " is no run directory; a run's id needs --coordinator HOST:PORT"));
  }
  ATELIER_ASSIGN_OR_RETURN(const RunDirectory directory, RunDirectory::Open(options.run));
  ATELIER_ASSIGN_OR_RETURN(const RunOrigin origin, directory.ReadOrigin());
  if (origin.coordinator.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.run,
                     " is trained inside the process that started it: Ctrl-C there stops it, "
                     "atelier runs resume ",
                     options.run, " continues it"));
  }
  return Remote{origin.coordinator, origin.run_id};
}

std::string Ensemble(const v1::Run& run) {
  return run.has_ensemble() ? absl::StrCat(run.ensemble().name(), "@", run.ensemble().version())
                            : "";
}

std::string Accuracy(const v1::Run& run) {
  return run.metrics().images() > 0
             ? PercentWithInterval(run.metrics().accuracy(), run.metrics().images())
             : "";
}

absl::Status ListRemote(const Options& options) {
  const auto session = TrainingSession::OpenRemote(options.coordinator, std::nullopt);
  ATELIER_ASSIGN_OR_RETURN(const v1::ListRunsResponse listed, session->runs().List());
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"run", "name", "state", "started", "ensemble", "accuracy"}};
  for (const v1::Run& run : listed.runs()) {
    json.push_back({{"run_id", run.run_id()},
                    {"name", run.plan().name()},
                    {"state", StateName(run.state())},
                    {"created_unix_ms", run.created_unix_ms()},
                    {"ensemble", Ensemble(run)}});
    rows.push_back({run.run_id(), run.plan().name(), StateName(run.state()),
                    LocalTime(run.created_unix_ms()), Ensemble(run), Accuracy(run)});
  }
  if (options.json) {
    PrintJson(json);
  } else {
    std::fputs(Table(rows).c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status List(const Options& options) {
  if (!options.coordinator.empty()) return ListRemote(options);
  ATELIER_ASSIGN_OR_RETURN(const std::vector<IndexedRun> runs, RunIndex(AtelierHome()).Runs());
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"run", "name", "state", "started", "ensemble", "accuracy"}};
  for (const IndexedRun& indexed : runs) {
    v1::Run run;
    std::string state = "gone";
    if (const auto directory = RunDirectory::Open(indexed.path); directory.ok()) {
      const absl::StatusOr<v1::Run> read = directory->ReadRun();
      if (read.ok()) run = *read;
      state = read.ok() ? AsShown(run, Stopped(*directory, run)).state : "damaged";
    }
    json.push_back({{"run_id", indexed.run_id},
                    {"name", indexed.name},
                    {"state", state},
                    {"created_unix_ms", indexed.created_unix_ms},
                    {"ensemble", Ensemble(run)},
                    {"directory", indexed.path.string()}});
    rows.push_back({indexed.path.string(), indexed.name, state, LocalTime(indexed.created_unix_ms),
                    Ensemble(run), Accuracy(run)});
  }
  if (options.json) {
    PrintJson(json);
  } else if (runs.empty()) {
    std::printf("no runs yet: atelier train --data DIR makes one\n");
  } else {
    std::fputs(Table(rows).c_str(), stdout);
  }
  return absl::OkStatus();
}

std::string Cursor(const v1::DataCursor& cursor) {
  return absl::StrCat(cursor.epoch(), ":", cursor.step());
}

void PrintRun(const v1::Run& run, const std::string& state) {
  std::printf("run %s, %s, recipe %s, started %s: %s%s%s\n\n", run.run_id().c_str(),
              run.plan().name().c_str(), run.plan().recipe().c_str(),
              LocalTime(run.created_unix_ms()).c_str(), state.c_str(),
              run.error().empty() ? "" : ", ", run.error().c_str());
  std::vector<std::vector<std::string>> rows = {
      {"member", "stage", "state", "val. accuracy", "attempt", "trainer", "from", "to", "end"}};
  for (const v1::Task& task : run.tasks()) {
    std::vector<std::string> row = {
        task.member(), task.stage(), StateName(task.state()),
        task.result().history().empty() ? "" : Percent(task.result().validation_accuracy())};
    if (task.attempts().empty()) rows.push_back(row);
    int number = 0;
    for (const v1::Attempt& attempt : task.attempts()) {
      std::vector<std::string> full = row;
      if (number > 0) full = {"", "", "", ""};
      full.push_back(absl::StrCat(++number));
      full.push_back(attempt.trainer());
      full.push_back(Cursor(attempt.start()));
      full.push_back(Cursor(attempt.end()));
      full.push_back(EndName(attempt.end_kind()) +
                     (attempt.error().empty() ? "" : ": " + attempt.error()));
      rows.push_back(std::move(full));
    }
  }
  std::fputs(Table(rows, {3, 4}).c_str(), stdout);
  const std::string below = run.has_ensemble() ? SummaryText(run) : InexactText(run);
  if (!below.empty()) std::printf("\n%s", below.c_str());
}

absl::Status Show(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const Shown shown, LoadRun(options));
  if (options.json) {
    Json json = RunToJson(shown.run);
    json["state"] = shown.state;
    PrintJson(json);
    return absl::OkStatus();
  }
  PrintRun(shown.run, shown.state);
  if (shown.state == "stopped") {
    std::printf("\ncontinue   atelier runs resume %s\n", options.run.c_str());
  }
  return absl::OkStatus();
}

int Watch(const Options& options, Context& context) {
  const absl::StatusOr<Remote> remote = RemoteOf(options);
  if (!remote.ok()) return Fail(remote.status());
  return TrainingSession::OpenRemote(remote->coordinator, std::nullopt)
      ->Follow(remote->run_id, context, options.json);
}

absl::Status Cancel(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const Remote remote, RemoteOf(options));
  const auto session = TrainingSession::OpenRemote(remote.coordinator, std::nullopt);
  ATELIER_ASSIGN_OR_RETURN(const v1::Run run,
                           session->runs().Cancel(remote.run_id, options.reason));
  if (options.json) {
    PrintJson(RunToJson(run));
  } else {
    Say(absl::StrCat("run ", run.run_id(),
                     " is being cancelled; checkpoints are kept: atelier runs "
                     "resume ",
                     options.run, options.coordinator.empty() ? "" : " --coordinator ",
                     options.coordinator));
  }
  return absl::OkStatus();
}

int ResumeOn(TrainingSession& session, const std::string& run_id, const Options& options,
             Context& context) {
  const absl::StatusOr<v1::Run> run = session.runs().Get(run_id);
  if (!run.ok()) return Fail(run.status());
  if (run->state() == v1::RUN_FAILED || run->state() == v1::RUN_CANCELLED) {
    const absl::Status resumed = session.runs().Resume(run_id).status();
    if (!resumed.ok()) return Fail(resumed);
  }
  return session.Follow(run_id, context, options.json);
}

// The folder of pictures may have been moved since; --data says where it is now.
absl::StatusOr<std::filesystem::path> DataOf(const RunOrigin& origin, const Options& options) {
  if (!options.data.empty()) return ExistingFolder(options.data);
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(origin.data, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat("the pictures are not in ", origin.data.string(),
                                            " any more; say where they are with --data DIR"));
  }
  return folder;
}

// The coordinator knows the run even when the process died before it wrote origin.json's id.
absl::StatusOr<std::string> OnlyRun(TrainingSession& session) {
  ATELIER_ASSIGN_OR_RETURN(const v1::ListRunsResponse runs, session.runs().List());
  if (runs.runs().empty()) {
    return absl::NotFoundError(
        "the run was stopped before it began; train again with another --out");
  }
  return runs.runs(0).run_id();
}

int Resume(const Options& options, Context& context) {
  if (!RunDirectory::IsRunDirectory(options.run)) {
    const absl::StatusOr<Remote> remote = RemoteOf(options);
    if (!remote.ok()) return Fail(remote.status());
    return ResumeOn(*TrainingSession::OpenRemote(remote->coordinator, std::nullopt), remote->run_id,
                    options, context);
  }
  const absl::StatusOr<RunDirectory> directory = RunDirectory::Open(options.run);
  if (!directory.ok()) return Fail(directory.status());
  const absl::StatusOr<RunOrigin> origin = directory->ReadOrigin();
  if (!origin.ok()) return Fail(origin.status());
  if (!origin->coordinator.empty()) {
    return ResumeOn(*TrainingSession::OpenRemote(origin->coordinator, *directory), origin->run_id,
                    options, context);
  }
  const absl::StatusOr<v1::Run> known = directory->ReadRun();
  if (known.ok() && known->state() == v1::RUN_DONE && directory->ReadEnsemble().ok()) {
    Say(absl::StrCat("the run in ", options.run, " is finished"));
    if (options.json) {
      PrintJson(RunToJson(*known));
    } else {
      std::fputs(SummaryText(*known).c_str(), stdout);
    }
    return kDone;
  }
  const absl::StatusOr<std::filesystem::path> data = DataOf(*origin, options);
  if (!data.ok()) return ExitCode(data.status());
  absl::StatusOr<std::unique_ptr<DirectoryLock>> lock = directory->Lock();
  if (!lock.ok()) return Fail(lock.status());
  const auto session =
      TrainingSession::OpenEmbedded(*directory, *std::move(lock), *data, options.limits);
  if (!session.ok()) return Fail(session.status());
  const absl::StatusOr<std::string> run_id =
      origin->run_id.empty() ? OnlyRun(**session) : absl::StatusOr<std::string>(origin->run_id);
  if (!run_id.ok()) return Fail(run_id.status());
  return ResumeOn(**session, *run_id, options, context);
}

}  // namespace

void AddRunsCommands(CLI::App& app, Context& context) {
  CLI::App* runs = AddVerb(app, "runs", "List, show, watch, cancel and resume runs",
                           "  atelier runs list\n"
                           "  atelier runs show runs/paintings-20261124-0912 --json\n"
                           "  atelier runs resume runs/paintings-20261124-0912   # after Ctrl-C\n"
                           "  atelier runs watch RUN_ID --coordinator 127.0.0.1:7070");
  runs->require_subcommand(1);
  auto options = std::make_shared<Options>();

  CLI::App* list =
      runs->add_subcommand("list", "Runs of this user, or of a coordinator; newest first");
  list->add_option("--coordinator", options->coordinator, "Ask this coordinator")
      ->type_name("HOST:PORT");
  CLI::App* show = runs->add_subcommand("show", "Tasks, attempts and scores of a run");
  AddCommon(*show, *options, true);
  CLI::App* watch = runs->add_subcommand("watch", "Follow a run of a coordinator until it ends");
  AddCommon(*watch, *options, true);
  CLI::App* cancel =
      runs->add_subcommand("cancel", "Stop a run of a coordinator, keeping checkpoints");
  AddCommon(*cancel, *options, true);
  cancel->add_option("--reason", options->reason, "Kept with the run")->capture_default_str();
  CLI::App* resume = runs->add_subcommand(
      "resume", "Continue a stopped, failed or cancelled run from its last checkpoints");
  AddCommon(*resume, *options, true);
  resume->add_option("--data", options->data, "The pictures' folder, when it was moved")
      ->type_name("DIR");
  vision::AddPictureLimitFlags(*resume, options->limits);
  for (CLI::App* verb : {list, show, watch, cancel, resume}) {
    verb->add_flag("--json", options->json, "One JSON document on standard output");
  }
  list->callback([=, &context] { context.exit_code = ExitCode(List(*options)); });
  show->callback([=, &context] { context.exit_code = ExitCode(Show(*options)); });
  watch->callback([=, &context] { context.exit_code = Watch(*options, context); });
  cancel->callback([=, &context] { context.exit_code = ExitCode(Cancel(*options)); });
  resume->callback([=, &context] { context.exit_code = Resume(*options, context); });
}

}  // namespace atelier::cli
