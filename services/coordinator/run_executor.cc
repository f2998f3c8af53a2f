#include "services/coordinator/run_executor.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "services/coordinator/plan.h"

namespace atelier::coordinator {
namespace {

constexpr int kEventPage = 200;
// A random suffix keeps ids apart that are made within one second.
std::string NewRunId(const std::string& name) {
  std::random_device random;
  const std::string stamp = absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone());
  return absl::StrFormat("%s-%s-%04x", name.substr(0, 40), stamp, random() & 0xffffU);
}

std::string InitialOwner(const std::string& run_id) { return "initial/" + run_id; }

}  // namespace

RunExecutor::RunExecutor(const ExecutorOptions& options, Store& store,
                         artifacts::ArtifactStore& artifacts, const Clock& clock)
    : options_(options),
      store_(store),
      artifacts_(artifacts),
      clock_(clock),
      fleet_(options.data_service_ttl) {}

absl::StatusOr<std::unique_ptr<RunExecutor>> RunExecutor::Create(
    const ExecutorOptions& options, Store& store, artifacts::ArtifactStore& artifacts,
    const Clock& clock) {
  std::unique_ptr<RunExecutor> executor(new RunExecutor(options, store, artifacts, clock));
  ATELIER_RETURN_IF_ERROR(executor->Load());
  return executor;
}

absl::Status RunExecutor::Load() {
  MutexLock lock(mutex_);
  return store_.Transact(
      [&](Transaction& transaction) ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
        ATELIER_ASSIGN_OR_RETURN(const std::vector<v1::Run> runs, transaction.ListRuns());
        for (const v1::Run& run : runs) {
          if (run.state() != v1::RUN_RUNNING) continue;
          ATELIER_ASSIGN_OR_RETURN(RunRecord record, transaction.GetRun(run.run_id()));
          for (const v1::Task& task : record.tasks) {
            if (task.state() != v1::TASK_RUNNING) continue;
            const v1::Attempt& attempt = task.attempts(task.attempts_size() - 1);
            fleet_.leases()[{run.run_id(), task.member(), task.stage()}] = {
                attempt.trainer(), attempt.lease_epoch(), clock_.Now() + options_.lease_ttl};
          }
          running_[run.run_id()] = std::move(record);
        }
        return absl::OkStatus();
      });
}

absl::Status RunExecutor::Mutate(
    const std::string& run_id, const std::function<absl::Status(RunChange&, Transaction&)>& body) {
  RunChange change;
  std::vector<std::string> deletable;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(change.record, transaction.GetRun(run_id));
    ATELIER_RETURN_IF_ERROR(body(change, transaction));
    for (v1::RunEvent& event : change.events) {
      ATELIER_ASSIGN_OR_RETURN(const int64_t number, transaction.AppendEvent(run_id, event));
      change.record.run.set_last_event(number);
    }
    for (const int ordinal : change.changed_tasks) {
      ATELIER_RETURN_IF_ERROR(
          transaction.PutTask(run_id, ordinal, change.record.tasks[static_cast<size_t>(ordinal)]));
    }
    ATELIER_RETURN_IF_ERROR(transaction.PutRun(change.record));
    for (const std::string& digest : change.maybe_unreferenced) {
      ATELIER_ASSIGN_OR_RETURN(const bool needed, transaction.IsReferenced(digest));
      if (!needed) deletable.push_back(digest);
    }
    return absl::OkStatus();
  }));
  // Committed: now the memory follows, and whoever waits is told.
  if (change.record.run.state() == v1::RUN_RUNNING) {
    running_[run_id] = std::move(change.record);
  } else {
    running_.erase(run_id);
  }
  for (const std::string& digest : deletable) {
    const absl::Status deleted = artifacts_.Delete(digest);
    if (!deleted.ok()) LogWarning("artifact %s stays: %s", digest, deleted.ToString());
  }
  notifier_->Notify(run_id);
  return absl::OkStatus();
}

absl::Status RunExecutor::Idempotent(Transaction& transaction, const std::string& request_id,
                                     const google::protobuf::MessageLite& payload,
                                     std::string* response,
                                     const std::function<absl::Status()>& effect) {
  if (request_id.empty() || request_id.size() > 128) {
    return absl::InvalidArgumentError("request_id: 1 to 128 characters, new for every request");
  }
  const std::string digest = Sha256Hex(payload.SerializeAsString());
  ATELIER_ASSIGN_OR_RETURN(const auto earlier, transaction.FindRequest(request_id));
  if (earlier.has_value()) {
    if (earlier->payload_digest != digest) {
      return absl::InvalidArgumentError("request_id " + request_id +
                                        " was used with another payload; choose a new id");
    }
    *response = earlier->response;
    return absl::OkStatus();
  }
  ATELIER_RETURN_IF_ERROR(effect());
  return transaction.PutRequest(request_id, {digest, *response});
}

absl::Status RunExecutor::CheckStored(const std::vector<std::string>& digests) {
  for (const std::string& digest : digests) {
    if (digest.empty()) continue;
    const auto size = artifacts_.Size(digest);
    if (absl::IsNotFound(size.status())) {
      return absl::FailedPreconditionError("artifact " + digest +
                                           " is not in the registry; upload it first");
    }
    ATELIER_RETURN_IF_ERROR(size);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RunExecutor::FindSubmitted(const std::string& request_id,
                                                       const v1::RunPlan& asked) {
  if (request_id.empty()) {
    return absl::InvalidArgumentError("request_id: 1 to 128 characters, new for every request");
  }
  std::string run_id;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(const auto earlier, transaction.FindRequest(request_id));
    if (!earlier.has_value()) return absl::NotFoundError("not submitted");
    return Idempotent(transaction, request_id, asked, &run_id, [] { return absl::OkStatus(); });
  }));
  return run_id;
}

absl::StatusOr<std::string> RunExecutor::Submit(const std::string& request_id,
                                                const v1::RunPlan& asked, const v1::RunPlan& plan,
                                                const v1::DatasetSummary& dataset) {
  std::vector<std::string> initial;
  for (const v1::MemberSpec& member : plan.members()) {
    initial.push_back(member.initial_weights_digest());
  }
  std::string run_id = NewRunId(plan.name());
  {
    MutexLock lock(mutex_);
    ATELIER_RETURN_IF_ERROR(CheckStored(initial));
    RunRecord record;
    const int64_t now = UnixMillis(clock_.WallNow());
    ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
      return Idempotent(transaction, request_id, asked, &run_id, [&]() -> absl::Status {
        // Two ids made within one second differ in 16 random bits only.
        while (transaction.GetRun(run_id).ok()) run_id = NewRunId(plan.name());
        record.run.set_run_id(run_id);
        record.run.set_state(v1::RUN_RUNNING);
        *record.run.mutable_plan() = plan;
        *record.run.mutable_dataset() = dataset;
        record.run.set_created_unix_ms(now);
        record.tasks = ExpandTasks(plan);
        v1::RunEvent event;
        event.set_unix_ms(now);
        event.mutable_run()->set_state(v1::RUN_RUNNING);
        event.mutable_run()->set_text(absl::StrCat("submitted: ", plan.members_size(), " members, ",
                                                   plan.stages_size(), " stages"));
        ATELIER_RETURN_IF_ERROR(transaction.PutRun(record));
        ATELIER_ASSIGN_OR_RETURN(const int64_t number, transaction.AppendEvent(run_id, event));
        record.run.set_last_event(number);
        ATELIER_RETURN_IF_ERROR(transaction.PutRun(record));
        for (size_t i = 0; i < record.tasks.size(); ++i) {
          ATELIER_RETURN_IF_ERROR(
              transaction.PutTask(run_id, static_cast<int>(i), record.tasks[i]));
        }
        for (const std::string& digest : initial) {
          ATELIER_RETURN_IF_ERROR(transaction.AddReference(digest, InitialOwner(run_id)));
        }
        return absl::OkStatus();
      });
    }));
    if (!record.run.run_id().empty()) running_[run_id] = std::move(record);
  }
  Kick();
  return run_id;
}

absl::StatusOr<v1::Run> RunExecutor::RunWithTasks(const std::string& run_id) {
  v1::Run run;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(RunRecord record, transaction.GetRun(run_id));
    run = std::move(record.run);
    for (v1::Task& task : record.tasks) *run.add_tasks() = std::move(task);
    return absl::OkStatus();
  }));
  // Running attempts' positions are progress, which is not stored.
  for (v1::Task& task : *run.mutable_tasks()) {
    v1::Attempt* attempt = RunningAttempt(task);
    const auto live = progress_.find({run_id, task.member(), task.stage()});
    if (attempt != nullptr && live != progress_.end() &&
        live->second.progress.lease().epoch() == attempt->lease_epoch()) {
      *attempt->mutable_end() = live->second.progress.cursor();
    }
  }
  return run;
}

absl::StatusOr<v1::Run> RunExecutor::Get(const std::string& run_id) {
  MutexLock lock(mutex_);
  return RunWithTasks(run_id);
}

absl::StatusOr<v1::ListRunsResponse> RunExecutor::List() {
  v1::ListRunsResponse response;
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(std::vector<v1::Run> runs, transaction.ListRuns());
    for (v1::Run& run : runs) {
      // What grows with the files of a dataset or the square of its classes: a few such runs would
      // exceed a message.
      run.mutable_dataset()->clear_quarantined();
      run.mutable_dataset()->clear_duplicates();
      if (run.has_metrics()) run.mutable_metrics()->clear_confusion();
      *response.add_runs() = std::move(run);
    }
    return absl::OkStatus();
  }));
  return response;
}

absl::StatusOr<v1::Run> RunExecutor::Cancel(const std::string& run_id, const std::string& reason) {
  absl::StatusOr<v1::Run> result;
  {
    MutexLock lock(mutex_);
    std::vector<std::pair<std::string, v1::Lease>> stopped;
    const int64_t now = UnixMillis(clock_.WallNow());
    const auto cancel = [&](RunChange& change, Transaction&)
                            ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
      v1::Run& run = change.record.run;
      if (run.state() == v1::RUN_CANCELLED) return absl::OkStatus();
      if (run.state() != v1::RUN_RUNNING) {
        return absl::FailedPreconditionError("the run has ended; there is nothing to cancel");
      }
      for (v1::Task& task : change.record.tasks) {
        if (task.state() != v1::TASK_WAITING && task.state() != v1::TASK_RUNNING) continue;
        v1::Task& edited = *change.Edit(task.member(), task.stage());
        const TaskKey key{run_id, task.member(), task.stage()};
        if (v1::Attempt* attempt = RunningAttempt(edited)) {
          attempt->set_end_kind(v1::ATTEMPT_CANCELLED);
          *attempt->mutable_end() = HowFar(key, edited, *attempt);
          attempt->set_error(reason);
          attempt->set_ended_unix_ms(now);
          stopped.emplace_back(attempt->trainer(), MakeLease(key, attempt->lease_epoch()));
        }
        edited.set_state(v1::TASK_CANCELLED);
        change.AddTaskEvent(edited, "cancelled: " + reason, now);
      }
      run.set_state(v1::RUN_CANCELLED);
      run.set_error(reason);
      run.set_ended_unix_ms(now);
      change.AddRunEvent(v1::RUN_CANCELLED, reason, now);
      return absl::OkStatus();
    };
    ATELIER_RETURN_IF_ERROR(Mutate(run_id, cancel));
    for (const auto& [trainer, lease] : stopped) {
      fleet_.leases().erase(KeyOf(lease));
      progress_.erase(KeyOf(lease));
      const auto found = fleet_.trainers().find(trainer);
      if (found == fleet_.trainers().end()) continue;
      v1::CoordinatorMessage message;
      *message.mutable_cancel()->mutable_lease() = lease;
      message.mutable_cancel()->set_reason("the run was cancelled");
      found->second.send(message);
    }
    result = RunWithTasks(run_id);
  }
  Kick();
  return result;
}

absl::StatusOr<v1::Run> RunExecutor::Resume(const std::string& run_id) {
  absl::StatusOr<v1::Run> result;
  {
    MutexLock lock(mutex_);
    const int64_t now = UnixMillis(clock_.WallNow());
    ATELIER_RETURN_IF_ERROR(Mutate(run_id, [&](RunChange& change, Transaction&) -> absl::Status {
      v1::Run& run = change.record.run;
      if (run.state() == v1::RUN_RUNNING || run.state() == v1::RUN_DONE) return absl::OkStatus();
      for (v1::Task& task : change.record.tasks) {
        if (task.state() != v1::TASK_FAILED && task.state() != v1::TASK_CANCELLED) continue;
        v1::Task& edited = *change.Edit(task.member(), task.stage());
        edited.set_state(v1::TASK_WAITING);
        edited.clear_error();
        edited.clear_error_final();
        edited.set_not_before_unix_ms(0);
        // A new series of attempts: what failed before somebody mended the cause does not count.
        edited.set_attempts_forgiven(edited.attempts_size());
        change.AddTaskEvent(
            edited, absl::StrCat("resumed from ", Position(edited.checkpoint_cursor())), now);
      }
      run.set_state(v1::RUN_RUNNING);
      run.clear_error();
      run.clear_ended_unix_ms();
      change.AddRunEvent(v1::RUN_RUNNING, "resumed", now);
      return absl::OkStatus();
    }));
    result = RunWithTasks(run_id);
  }
  Kick();
  return result;
}

absl::StatusOr<RunExecutor::News> RunExecutor::NewsAfter(const std::string& run_id, int64_t event,
                                                         int64_t progress_seen) {
  News news;
  MutexLock lock(mutex_);
  v1::RunState state = v1::RUN_STATE_UNSPECIFIED;
  int64_t last_event = 0;
  // A run that goes on is in memory: every progress message wakes its watchers, and reading all
  // tasks and histories back for each would be waste.
  ATELIER_RETURN_IF_ERROR(
      store_.Transact([&](Transaction& transaction) ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
        if (const auto running = running_.find(run_id); running != running_.end()) {
          state = running->second.run.state();
          last_event = running->second.run.last_event();
        } else {
          ATELIER_ASSIGN_OR_RETURN(const RunRecord record, transaction.GetRun(run_id));
          state = record.run.state();
          last_event = record.run.last_event();
        }
        ATELIER_ASSIGN_OR_RETURN(news.events, transaction.EventsAfter(run_id, event, kEventPage));
        return absl::OkStatus();
      }));
  const int64_t reached = news.events.empty() ? event : news.events.back().number();
  news.ended = state != v1::RUN_RUNNING && reached >= last_event;
  news.progress_seen = progress_version_;
  for (const auto& [key, live] : progress_) {
    if (key.run_id == run_id && live.version > progress_seen)
      news.progress.push_back(live.progress);
  }
  return news;
}

void RunExecutor::SetKick(std::function<void()> kick) {
  MutexLock lock(kick_mutex_);
  kick_ = std::move(kick);
}

void RunExecutor::Kick() {
  MutexLock lock(kick_mutex_);
  if (kick_) kick_();
}

}  // namespace atelier::coordinator
