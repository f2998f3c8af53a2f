#include "services/coordinator/run_executor.h"

#include <algorithm>
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
#include "services/coordinator/publisher.h"
#include "services/coordinator/registry.h"

namespace atelier::coordinator {
namespace {

constexpr int kEventPage = 200;
// A random suffix keeps ids apart that are made within one second.
std::string NewRunId(const std::string& name) {
  std::random_device random;
  const std::string stamp =
      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone());
  return absl::StrFormat("%s-%s-%04x", name.substr(0, 40), stamp, random() & 0xffffU);
}

std::string Position(const v1::DataCursor& cursor) {
  return absl::StrCat("epoch ", cursor.epoch(), " step ", cursor.step());
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
  return store_.Transact([&](Transaction& transaction) ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
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
    const std::string& run_id,
    const std::function<absl::Status(RunChange&, Transaction&)>& body) {
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
    for (v1::Run& run : runs) *response.add_runs() = std::move(run);
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
    ATELIER_RETURN_IF_ERROR(Mutate(run_id, [&](RunChange& change, Transaction&) -> absl::Status {
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
    }));
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
        edited.set_not_before_unix_ms(0);
        // A new series of attempts: what failed before somebody mended the cause does not count.
        if (edited.attempts_size() > 0) {
          edited.mutable_attempts(edited.attempts_size() - 1)->set_end_kind(v1::ATTEMPT_CANCELLED);
        }
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
  ATELIER_RETURN_IF_ERROR(store_.Transact([&](Transaction& transaction) -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(const RunRecord record, transaction.GetRun(run_id));
    state = record.run.state();
    last_event = record.run.last_event();
    ATELIER_ASSIGN_OR_RETURN(news.events, transaction.EventsAfter(run_id, event, kEventPage));
    return absl::OkStatus();
  }));
  const int64_t reached = news.events.empty() ? event : news.events.back().number();
  news.ended = state != v1::RUN_RUNNING && reached >= last_event;
  news.progress_seen = progress_version_;
  for (const auto& [key, live] : progress_) {
    if (key.run_id == run_id && live.version > progress_seen) news.progress.push_back(live.progress);
  }
  return news;
}

Snapshot RunExecutor::TakeSnapshot() {
  Snapshot snapshot;
  snapshot.now = clock_.Now();
  snapshot.now_unix_ms = UnixMillis(clock_.WallNow());
  snapshot.data_service_there = !fleet_.DataAddresses(snapshot.now).empty();
  snapshot.trainers = fleet_.TrainerViews();
  for (const auto& [run_id, record] : running_) {
    RunView& run = snapshot.runs.emplace_back();
    run.run_id = run_id;
    run.max_attempts = record.run.plan().max_attempts();
    for (const v1::Task& task : record.tasks) {
      TaskView& view = run.tasks.emplace_back();
      view.key = {run_id, task.member(), task.stage()};
      view.backbone = FindMember(record.run.plan(), task.member())->backbone();
      while (record.run.plan().stages(view.stage_index).name() != task.stage()) ++view.stage_index;
      view.state = task.state();
      view.not_before_unix_ms = task.not_before_unix_ms();
      view.fruitless_attempts = FruitlessAttempts(task);
      view.last_error = task.error();
      view.last_error_final = task.error_final();
      const auto lease = fleet_.leases().find(view.key);
      if (lease != fleet_.leases().end()) {
        view.lease_epoch = lease->second.epoch;
        view.lease_deadline = lease->second.deadline;
      }
    }
  }
  // Oldest first: a run that waits longer goes first.
  std::sort(snapshot.runs.begin(), snapshot.runs.end(),
            [this](const RunView& a, const RunView& b) ABSL_NO_THREAD_SAFETY_ANALYSIS {
              const v1::Run& left = running_.at(a.run_id).run;
              const v1::Run& right = running_.at(b.run_id).run;
              return std::pair(left.created_unix_ms(), a.run_id) <
                     std::pair(right.created_unix_ms(), b.run_id);
            });
  return snapshot;
}

SteadyTime RunExecutor::Tick() {
  MutexLock lock(mutex_);
  // Applying actions can ask for further ones (an expired lease makes a task to grant).
  constexpr int kMaxRounds = 16;
  for (int round = 0; round < kMaxRounds; ++round) {
    const std::vector<Action> actions = Decide(TakeSnapshot());
    if (actions.empty()) break;
    for (const Action& action : actions) Apply(action);
  }
  return std::min(NextDeadline(TakeSnapshot()), fleet_.NextDataExpiry());
}

void RunExecutor::Apply(const Action& action) {
  absl::Status status;
  if (const auto* expire = std::get_if<ExpireLease>(&action)) {
    ++leases_expired_;
    status = EndAttempt(expire->key, expire->lease_epoch, v1::ATTEMPT_LOST,
                        "the lease expired: the trainer was not heard of in time");
  } else if (const auto* grant = std::get_if<GrantLease>(&action)) {
    status = Grant(*grant);
  } else if (const auto* fail = std::get_if<FailTask>(&action)) {
    const int64_t now = UnixMillis(clock_.WallNow());
    status = Mutate(fail->key.run_id, [&](RunChange& change, Transaction&) {
      v1::Task& task = *change.Edit(fail->key.member, fail->key.stage);
      task.set_state(v1::TASK_FAILED);
      task.set_error(fail->cause);
      change.AddTaskEvent(task, "failed: " + fail->cause, now);
      return absl::OkStatus();
    });
  } else if (const auto* finish = std::get_if<FinishRun>(&action)) {
    status = Finish(finish->run_id);
  } else if (const auto* end = std::get_if<FailRun>(&action)) {
    status = CloseRun(end->run_id, v1::RUN_FAILED, end->cause);
  }
  if (!status.ok()) LogError("applying a decision: %s", status.ToString());
}

absl::Status RunExecutor::EndAttempt(const TaskKey& key, int64_t lease_epoch, v1::AttemptEnd end,
                                     const std::string& error) {
  const int64_t now = UnixMillis(clock_.WallNow());
  const auto live = progress_.find(key);
  ATELIER_RETURN_IF_ERROR(
      Mutate(key.run_id, [&](RunChange& change, Transaction&) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        v1::Task& task = *change.Edit(key.member, key.stage);
        v1::Attempt* attempt = RunningAttempt(task);
        if (attempt == nullptr || attempt->lease_epoch() != lease_epoch) return absl::OkStatus();
        attempt->set_end_kind(end);
        attempt->set_error(error);
        attempt->set_ended_unix_ms(now);
        if (live != progress_.end() && live->second.progress.lease().epoch() == lease_epoch) {
          *attempt->mutable_end() = live->second.progress.cursor();
        }
        task.set_state(v1::TASK_WAITING);
        task.set_error(error);
        task.set_not_before_unix_ms(now + BackoffAfter(FruitlessAttempts(task)).count());
        change.AddTaskEvent(task, absl::StrCat("attempt ", task.attempts_size(), ": ", error), now);
        return absl::OkStatus();
      }));
  fleet_.leases().erase(key);
  progress_.erase(key);
  return absl::OkStatus();
}

absl::Status RunExecutor::StartingPoint(const RunRecord& record, const v1::Task& task,
                                        v1::Assignment& assignment) {
  if (!task.checkpoint_digest().empty()) {
    assignment.set_checkpoint_digest(task.checkpoint_digest());
    return absl::OkStatus();
  }
  const v1::Task* before = nullptr;
  for (const v1::Task& other : record.tasks) {
    if (other.member() != task.member()) continue;
    if (other.stage() == task.stage()) break;
    before = &other;
  }
  if (before != nullptr) {
    assignment.set_initial_weights_digest(before->result().weights_digest());
    assignment.set_initial_weights_have_head(true);
  } else {
    assignment.set_initial_weights_digest(
        FindMember(record.run.plan(), task.member())->initial_weights_digest());
  }
  return absl::OkStatus();
}

absl::Status RunExecutor::Grant(const GrantLease& grant) {
  const TaskKey& key = grant.key;
  const auto trainer = fleet_.trainers().find(grant.trainer);
  if (trainer == fleet_.trainers().end()) return absl::OkStatus();  // left since the snapshot
  const int64_t now = UnixMillis(clock_.WallNow());
  v1::CoordinatorMessage message;
  v1::Assignment& assignment = *message.mutable_assignment();
  int64_t epoch = 0;
  ATELIER_RETURN_IF_ERROR(Mutate(key.run_id, [&](RunChange& change, Transaction&) -> absl::Status {
    v1::Task& task = *change.Edit(key.member, key.stage);
    epoch = task.attempts_size() == 0
                ? 1
                : task.attempts(task.attempts_size() - 1).lease_epoch() + 1;
    assignment = AssignmentFor(change.record.run, task);
    ATELIER_RETURN_IF_ERROR(StartingPoint(change.record, task, assignment));
    v1::Attempt& attempt = *task.add_attempts();
    attempt.set_trainer(grant.trainer);
    attempt.set_lease_epoch(epoch);
    *attempt.mutable_start() = task.checkpoint_cursor();
    *attempt.mutable_end() = task.checkpoint_cursor();
    attempt.set_started_unix_ms(now);
    *attempt.mutable_device() = trainer->second.hello.device();
    task.set_state(v1::TASK_RUNNING);
    change.AddTaskEvent(task,
                        absl::StrCat("attempt ", task.attempts_size(), " on ", grant.trainer,
                                     " from ", Position(task.checkpoint_cursor())),
                        now);
    return absl::OkStatus();
  }));
  fleet_.leases()[key] = {grant.trainer, epoch, clock_.Now() + options_.lease_ttl};
  *assignment.mutable_lease() = MakeLease(key, epoch);
  for (std::string& address : fleet_.DataAddresses(clock_.Now())) {
    assignment.add_data_addresses(std::move(address));
  }
  trainer->second.send(message);
  return absl::OkStatus();
}

absl::Status RunExecutor::Finish(const std::string& run_id) {
  const absl::StatusOr<PublishedRun> published =
      PreparePublication(running_.at(run_id), artifacts_);
  if (!published.ok()) {
    return CloseRun(run_id, v1::RUN_FAILED,
                    absl::StrCat("the ensemble cannot be scored: ", published.status().message()));
  }
  const int64_t now = UnixMillis(clock_.WallNow());
  bool promoted = false;
  ATELIER_RETURN_IF_ERROR(
      Mutate(run_id, [&](RunChange& change, Transaction& transaction) -> absl::Status {
        v1::Run& run = change.record.run;
        ATELIER_ASSIGN_OR_RETURN(
            *run.mutable_ensemble(),
            PublishInTransaction(transaction, published->ensemble, run.plan().promote(), now,
                                 promoted));
        *run.mutable_metrics() = published->metrics;
        run.set_state(v1::RUN_DONE);
        run.set_ended_unix_ms(now);
        for (const std::string& warning : published->warnings) {
          change.AddRunEvent(v1::RUN_RUNNING, "warning: " + warning, now);
        }
        change.AddRunEvent(v1::RUN_DONE,
                           absl::StrCat("published ", run.ensemble().name(), "@",
                                        run.ensemble().version(), promoted ? ", promoted" : ""),
                           now);
        return absl::OkStatus();
      }));
  if (promoted) notifier_->Notify(kPromotionsTopic);
  return absl::OkStatus();
}

absl::Status RunExecutor::CloseRun(const std::string& run_id, v1::RunState state,
                                   const std::string& text) {
  const int64_t now = UnixMillis(clock_.WallNow());
  return Mutate(run_id, [&](RunChange& change, Transaction&) {
    change.record.run.set_state(state);
    change.record.run.set_error(text);
    change.record.run.set_ended_unix_ms(now);
    change.AddRunEvent(state, text, now);
    return absl::OkStatus();
  });
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
