#include "services/cli/training_session.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/await_data_service.h"
#include "services/cli/fetch_run.h"
#include "services/cli/format.h"
#include "services/cli/inexact_text.h"
#include "services/cli/progress_view.h"
#include "services/cli/run_index.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

// A last checkpoint of the largest member takes seconds; beyond this the one before it is kept.
constexpr std::chrono::seconds kDrainGrace{60};
constexpr std::chrono::seconds kStopGrace{5};
// The embedded coordinator only goes away when this process stops it.
constexpr std::chrono::seconds kEmbeddedPatience{3};
constexpr std::chrono::minutes kRemotePatience{10};
// How much older than the run its directory's run.json may be; a kill leaves it behind.
constexpr std::chrono::seconds kKeepEvery{2};

ProgressOptions ViewOptions(const v1::Run& run) {
  ProgressOptions options;
  options.terminal = StandardErrorIsTerminal();
  options.width = TerminalWidth();
  options.batch_size = std::max(1, run.plan().batch_size());
  for (const v1::MemberSpec& member : run.plan().members()) {
    options.members.push_back(member.name().empty() ? member.backbone() : member.name());
  }
  for (const v1::StageSpec& stage : run.plan().stages()) options.stages.push_back(stage.name());
  return options;
}

void SayHowToPromote(const v1::EnsembleVersion& ensemble, const std::string& where) {
  const std::string name = absl::StrCat(ensemble.name(), "@", ensemble.version());
  Say(absl::StrCat(name, " is not promoted; promote it: atelier ensembles promote ", name, where));
}

void WriteToStandardError(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainingSession>> TrainingSession::OpenEmbedded(
    const RunDirectory& directory, std::unique_ptr<DirectoryLock> lock,
    const std::filesystem::path& data, const vision::DecodeLimits& limits) {
  auto session = std::unique_ptr<TrainingSession>(new TrainingSession());
  session->lock_ = std::move(lock);
  EmbeddedOptions options;
  options.data_root = data;
  options.state = directory.state();
  options.pictures = limits;
  ATELIER_ASSIGN_OR_RETURN(session->embedded_, Embedded::Start(options));
  session->channel_ = session->embedded_->channels()->Connect(kEmbeddedCoordinator);
  session->directory_ = directory;
  session->runs_ = coordinator::RunClient::Create(session->channel_);
  session->registry_ = coordinator::RegistryClient::Create(session->channel_);
  return session;
}

std::unique_ptr<TrainingSession> TrainingSession::OpenRemote(
    const std::string& coordinator, std::optional<RunDirectory> directory) {
  auto session = std::unique_ptr<TrainingSession>(new TrainingSession());
  session->coordinator_ = coordinator;
  session->directory_ = std::move(directory);
  session->channel_ = rpc::MakeTcpChannelFactory()->Connect(coordinator);
  session->runs_ = coordinator::RunClient::Create(session->channel_);
  session->registry_ = coordinator::RegistryClient::Create(session->channel_);
  return session;
}

absl::Status TrainingSession::AwaitDataService() { return cli::AwaitDataService(channel_); }

void TrainingSession::SetInterrupt(const std::string& run_id, Context& context) {
  if (embedded_ != nullptr) {
    context.interrupt.SetAction([this, run_id] {
      Say("stopping: keeping a checkpoint (again Ctrl-C: at once)");
      embedded_->DrainTrainer(kDrainGrace);
      KeepRun(run_id);
      // Ends the watch too, when no event told it.
      embedded_->Stop(kStopGrace);
    });
    return;
  }
  // Nothing of the run lives in this process: detaching is leaving.
  context.interrupt.SetAction([this, run_id] {
    const std::string there = absl::StrCat(run_id, " --coordinator ", coordinator_);
    std::string text = absl::StrCat("\natelier: detached; run ", run_id, " goes on\n",
                                    "  watch:  atelier runs watch ", there, "\n",
                                    "  cancel: atelier runs cancel ", there, "\n");
    if (directory_.has_value()) {
      absl::StrAppend(&text, "  fetch:  atelier runs resume ", directory_->path().string(), "\n");
    }
    WriteToStandardError(text);
    std::fflush(stderr);
    ::_exit(kInterrupted);
  });
}

void TrainingSession::KeepRun(const std::string& run_id) {
  const MutexLock lock(keeping_);
  const absl::StatusOr<v1::Run> run = runs_->Get(run_id);
  // The coordinator's database is what counts; this is what `runs show` says without starting it.
  // That it is done is said once its results are there.
  if (run.ok() && run->state() != v1::RUN_DONE) directory_->WriteRun(*run).IgnoreError();
}

absl::Status TrainingSession::Watch(const v1::Run& run, int64_t after_event, Context& context) {
  ProgressView view(ViewOptions(run), RealClock(), WriteToStandardError);
  auto kept = std::chrono::steady_clock::now();
  const absl::Status status = runs_->Watch(
      run.run_id(), after_event,
      [&](const v1::RunEvent& event) {
        // The embedded registry numbers this directory's versions only; Finish says the user's
        // number.
        const bool published = embedded_ != nullptr && event.run().state() == v1::RUN_DONE;
        if (!published) view.OnEvent(event);
        const auto now = std::chrono::steady_clock::now();
        if (embedded_ != nullptr && now - kept >= kKeepEvery) {
          kept = now;
          KeepRun(run.run_id());
        }
        return !context.interrupt.raised();
      },
      embedded_ != nullptr ? std::chrono::milliseconds(kEmbeddedPatience)
                           : std::chrono::milliseconds(kRemotePatience));
  view.Finish();
  return status;
}

int TrainingSession::Follow(const std::string& run_id, Context& context, bool json,
                            bool from_start) {
  const absl::StatusOr<v1::Run> run = runs_->Get(run_id);
  if (!run.ok()) return Fail(run.status());
  if (directory_.has_value()) {
    const absl::Status kept = directory_->WriteRun(*run);
    if (!kept.ok()) return Fail(kept);
    const absl::Status indexed =
        RunIndex(AtelierHome())
            .AddRun({run_id, run->plan().name(), directory_->path(), run->created_unix_ms()});
    if (!indexed.ok()) Say(absl::StrCat("not in the index: ", std::string(indexed.message())));
  }
  if (run->state() == v1::RUN_RUNNING) {
    SetInterrupt(run_id, context);
    const absl::Status watched = Watch(*run, from_start ? 0 : run->last_event(), context);
    // What follows only copies: stopping at once loses nothing.
    if (context.interrupt.SetAction(nullptr)) {
      context.interrupt.WaitHandled();
      Say(absl::StrCat("stopped; continue with: atelier runs resume ",
                       directory_->path().string()));
      return kInterrupted;
    }
    if (!watched.ok()) return Fail(watched);
  }
  return Ended(run_id, json);
}

int TrainingSession::Ended(const std::string& run_id, bool json) {
  const absl::StatusOr<v1::Run> run = runs_->Get(run_id);
  if (!run.ok()) return Fail(run.status());
  if (run->state() == v1::RUN_DONE) return Finish(*run, json);
  if (directory_.has_value()) {
    const absl::Status kept = directory_->WriteRun(*run);
    if (!kept.ok()) return Fail(kept);
  }
  std::string cause = run->error();
  for (const v1::Task& task : run->tasks()) {
    if (task.state() != v1::TASK_FAILED || cause.find(task.error()) != std::string::npos) continue;
    absl::StrAppend(&cause, cause.empty() ? "" : "; ", task.member(), " ", task.stage(), ": ",
                    task.error());
  }
  const std::string again = directory_.has_value()
                                ? directory_->path().string()
                                : absl::StrCat(run_id, " --coordinator ", coordinator_);
  if (json) PrintJson(RunToJson(*run));
  return Fail(absl::AbortedError(
      absl::StrCat("run ", run_id, " ", StateName(run->state()), ": ", cause,
                   "\n  try again from the last checkpoints: atelier runs resume ", again)));
}

absl::StatusOr<bool> TrainingSession::IsPromoted(const v1::EnsembleVersion& ensemble) {
  ATELIER_ASSIGN_OR_RETURN(const v1::EnsembleVersion promoted,
                           registry_->GetEnsemble(ensemble.name(), /*version=*/0));
  return promoted.version() == ensemble.version();
}

int TrainingSession::Finish(v1::Run run, bool json) {
  if (embedded_ == nullptr) {
    // Aggregators go on serving the one before: easily taken for this one.
    const absl::StatusOr<bool> promoted = IsPromoted(run.ensemble());
    if (promoted.ok() && !*promoted) {
      SayHowToPromote(run.ensemble(), absl::StrCat(" --coordinator ", coordinator_));
    }
  }
  if (directory_.has_value()) {
    if (embedded_ != nullptr) {
      // Each run directory has a registry of its own; the index numbers versions over all of them.
      const absl::StatusOr<IndexedEnsemble> indexed =
          RunIndex(AtelierHome())
              .AddEnsemble(run.ensemble().name(), directory_->path(), run.run_id(),
                           run.ensemble().created_unix_ms(), run.plan().promote());
      if (!indexed.ok()) return Fail(indexed.status());
      run.mutable_ensemble()->set_version(indexed->version);
      if (!indexed->promoted) SayHowToPromote(run.ensemble(), "");
    }
    Say("fetching weights, making the report");
    const absl::Status fetched = FetchRun(run, *runs_, *registry_, *directory_);
    if (!fetched.ok()) return Fail(fetched);
  }
  if (json) {
    Json document = RunToJson(run);
    document["directory"] = directory_.has_value() ? directory_->path().string() : "";
    PrintJson(document);
    return kDone;
  }
  std::fputs(SummaryText(run).c_str(), stdout);
  if (directory_.has_value()) {
    const std::string path = directory_->path().string();
    std::printf("\nreport    %s/report.html\npredict   atelier predict PICTURES --ensemble %s\n",
                path.c_str(), path.c_str());
  }
  std::fflush(stdout);
  return kDone;
}

std::string SummaryText(const v1::Run& run) {
  const v1::EnsembleMetrics& metrics = run.metrics();
  std::string text = absl::StrCat(run.ensemble().name(), "@", run.ensemble().version(), ", ",
                                  run.ensemble().members_size(),
                                  run.ensemble().members_size() == 1 ? " member" : " members");
  if (metrics.images() == 0) {
    return absl::StrCat(text, ", not scored (no validation part)\n", InexactText(run));
  }
  absl::StrAppend(&text, ", validation accuracy on ", Grouped(metrics.images()),
                  " pictures (95 % Wilson interval):\n");
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"  ensemble", PercentWithInterval(metrics.accuracy(), metrics.images())});
  for (const v1::MemberMetrics& member : metrics.members()) {
    rows.push_back(
        {"    " + member.name(), PercentWithInterval(member.accuracy(), metrics.images())});
  }
  return absl::StrCat(text, Table(rows), InexactText(run));
}

}  // namespace atelier::cli
