// RunExecutor's decisions: the snapshot for the policy, and what becomes of its actions.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "services/coordinator/plan.h"
#include "services/coordinator/publisher.h"
#include "services/coordinator/registry.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {
namespace {

// Until decisions that could not be stored are tried again.
constexpr std::chrono::seconds kRetryPause{1};

// Of a run that is published nothing will be resumed. The results keep their weights, and the
// ledger stays.
absl::Status RemoveCheckpoints(RunChange& change, Transaction& transaction) {
  for (const v1::Task& task : change.record.tasks) {
    const TaskKey key{change.record.run.run_id(), task.member(), task.stage()};
    ATELIER_ASSIGN_OR_RETURN(const auto rows, transaction.ListCheckpoints(key));
    for (const CheckpointRow& row : rows) {
      ATELIER_RETURN_IF_ERROR(RemoveCheckpoint(change, transaction, key, row));
    }
    change.Edit(task.member(), task.stage())->clear_checkpoint_digest();
  }
  return absl::OkStatus();
}

// Whether what a finished run was scored by is still what it has.
bool SameResults(const RunRecord& now, const RunRecord& then) {
  return std::equal(now.tasks.begin(), now.tasks.end(), then.tasks.begin(), then.tasks.end(),
                    [](const v1::Task& a, const v1::Task& b) {
                      return a.state() == b.state() &&
                             DigestsOf(a.result()) == DigestsOf(b.result());
                    });
}

}  // namespace

Snapshot RunExecutor::TakeSnapshot() {
  Snapshot snapshot;
  snapshot.now = clock_.Now();
  snapshot.now_unix_ms = UnixMillis(clock_.WallNow());
  snapshot.data_service_there = !fleet_.DataAddresses(snapshot.now).empty();
  snapshot.trainers = fleet_.TrainerViews(snapshot.now, options_.lease_ttl);
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
  // Applying actions can ask for further ones (an expired lease makes a task to grant).
  constexpr int kMaxRounds = 16;
  for (int round = 0; round < kMaxRounds; ++round) {
    std::vector<RunRecord> finished;
    absl::Status status;
    if (!ApplyDecisions(finished, status)) break;
    for (const RunRecord& record : finished) {
      const absl::Status published = Finish(record);
      if (!published.ok()) status = published;
    }
    if (!status.ok()) {
      // A full disk, say: the same decisions come again, but not at once and for ever.
      LogError("applying decisions: %s", status.ToString());
      return clock_.Now() + kRetryPause;
    }
  }
  MutexLock lock(mutex_);
  return std::min(NextDeadline(TakeSnapshot()), fleet_.NextDataExpiry());
}

bool RunExecutor::ApplyDecisions(std::vector<RunRecord>& finished, absl::Status& status) {
  MutexLock lock(mutex_);
  const std::vector<Action> actions = Decide(TakeSnapshot());
  for (const Action& action : actions) {
    if (const auto* finish = std::get_if<FinishRun>(&action)) {
      finished.push_back(running_.at(finish->run_id));
      continue;
    }
    const absl::Status applied = Apply(action);
    if (!applied.ok()) status = applied;
  }
  return !actions.empty();
}

absl::Status RunExecutor::Apply(const Action& action) {
  if (const auto* expire = std::get_if<ExpireLease>(&action)) {
    ATELIER_RETURN_IF_ERROR(EndAttempt(expire->key, expire->lease_epoch, v1::ATTEMPT_LOST,
                                       "the lease expired: the trainer was not heard of in time"));
    ++leases_expired_;
    return absl::OkStatus();
  }
  if (const auto* grant = std::get_if<GrantLease>(&action)) return Grant(*grant);
  if (const auto* fail = std::get_if<FailTask>(&action)) {
    const int64_t now = UnixMillis(clock_.WallNow());
    return Mutate(fail->key.run_id, [&](RunChange& change, Transaction&) {
      v1::Task& task = *change.Edit(fail->key.member, fail->key.stage);
      task.set_state(v1::TASK_FAILED);
      task.set_error(fail->cause);
      change.AddTaskEvent(task, "failed: " + fail->cause, now);
      return absl::OkStatus();
    });
  }
  const auto& end = std::get<FailRun>(action);
  return CloseRun(end.run_id, v1::RUN_FAILED, end.cause);
}

v1::DataCursor RunExecutor::HowFar(const TaskKey& key, const v1::Task& task,
                                   const v1::Attempt& attempt) const {
  v1::DataCursor end = attempt.end();
  const auto live = progress_.find(key);
  if (live != progress_.end() && live->second.progress.lease().epoch() == attempt.lease_epoch()) {
    end = live->second.progress.cursor();
  }
  // Progress is told each second, a checkpoint when it is committed: the later of the two.
  return Before(end, task.checkpoint_cursor()) ? task.checkpoint_cursor() : end;
}

absl::Status RunExecutor::EndAttempt(const TaskKey& key, int64_t lease_epoch, v1::AttemptEnd end,
                                     const std::string& error) {
  const int64_t now = UnixMillis(clock_.WallNow());
  ATELIER_RETURN_IF_ERROR(
      Mutate(key.run_id, [&](RunChange& change, Transaction&) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        v1::Task& task = *change.Edit(key.member, key.stage);
        v1::Attempt* attempt = RunningAttempt(task);
        if (attempt == nullptr || attempt->lease_epoch() != lease_epoch) return absl::OkStatus();
        attempt->set_end_kind(end);
        attempt->set_error(error);
        attempt->set_ended_unix_ms(now);
        *attempt->mutable_end() = HowFar(key, task, *attempt);
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
  if (const v1::Task* const before = StageBefore(record, task)) {
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
    epoch =
        task.attempts_size() == 0 ? 1 : task.attempts(task.attempts_size() - 1).lease_epoch() + 1;
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

absl::Status RunExecutor::Finish(const RunRecord& record) {
  const std::string& run_id = record.run.run_id();
  const absl::StatusOr<PublishedRun> published = PreparePublication(record, artifacts_);
  // These say nothing of the results (no free descriptor, say): the next tick tries again.
  if (absl::IsResourceExhausted(published.status()) || absl::IsUnavailable(published.status())) {
    return published.status();
  }
  MutexLock lock(mutex_);
  // Cancelled meanwhile, say: whatever it is now, the next tick decides on it.
  const auto now_running = running_.find(run_id);
  if (now_running == running_.end() || !SameResults(now_running->second, record)) {
    return absl::OkStatus();
  }
  if (!published.ok()) {
    return CloseRun(run_id, v1::RUN_FAILED,
                    absl::StrCat("the ensemble cannot be scored: ", published.status().message()));
  }
  const int64_t now = UnixMillis(clock_.WallNow());
  bool promoted = false;
  const absl::Status stored =
      Mutate(run_id, [&](RunChange& change, Transaction& transaction) -> absl::Status {
        v1::Run& run = change.record.run;
        ATELIER_ASSIGN_OR_RETURN(*run.mutable_ensemble(),
                                 PublishInTransaction(transaction, published->ensemble,
                                                      run.plan().promote(), now, promoted));
        ATELIER_RETURN_IF_ERROR(RemoveCheckpoints(change, transaction));
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
      });
  if (absl::IsInvalidArgument(stored)) {  // and will be: the run ends (P8)
    return CloseRun(run_id, v1::RUN_FAILED,
                    absl::StrCat("the ensemble cannot be stored: ", stored.message()));
  }
  ATELIER_RETURN_IF_ERROR(stored);
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

}  // namespace atelier::coordinator
