// RunExecutor's calls from trainers and data-services.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {
namespace {

v1::CoordinatorMessage StopMessage(const v1::Lease& lease, std::string_view reason) {
  v1::CoordinatorMessage message;
  *message.mutable_cancel()->mutable_lease() = lease;
  message.mutable_cancel()->set_reason(std::string(reason));
  return message;
}

}  // namespace

int64_t RunExecutor::Connect(const v1::TrainerHello& hello, SendToTrainer send) {
  int64_t session = 0;
  {
    MutexLock lock(mutex_);
    session = next_session_++;
    const std::string& id = hello.trainer_id();
    const std::optional<TaskKey> held = fleet_.TaskOf(id);
    const bool same_attempt = held.has_value() && hello.has_current() &&
                              KeyOf(hello.current()) == *held &&
                              fleet_.Renew(hello.current(), clock_.Now() + options_.lease_ttl);
    if (held.has_value() && !same_attempt) {
      // A new process under the old name, or one that gave the task up: nobody works on it.
      const absl::Status ended =
          EndAttempt(*held, fleet_.leases().at(*held).epoch, v1::ATTEMPT_LOST,
                     "the trainer came back without the task");
      if (!ended.ok()) LogError("ending a lost attempt: %s", ended.ToString());
    }
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_lease_ttl_ms(static_cast<int>(options_.lease_ttl.count()));
    send(welcome);
    if (hello.has_current() && !same_attempt) {
      send(StopMessage(hello.current(), "the lease is no longer yours"));
    }
    fleet_.trainers()[id] = {hello, std::move(send), session, hello.draining(), clock_.Now()};
  }
  Kick();
  return session;
}

void RunExecutor::OnHeard(const std::string& trainer) {
  bool back = false;
  {
    MutexLock lock(mutex_);
    const auto found = fleet_.trainers().find(trainer);
    if (found == fleet_.trainers().end()) return;
    back = clock_.Now() - found->second.last_heard >= options_.lease_ttl;
    found->second.last_heard = clock_.Now();
  }
  if (back) Kick();  // it may have a task again
}

void RunExecutor::OnProgress(const std::string& trainer, const v1::TaskProgress& progress) {
  const TaskKey key = KeyOf(progress.lease());
  MutexLock lock(mutex_);
  if (!fleet_.Renew(progress.lease(), clock_.Now() + options_.lease_ttl)) {
    const auto found = fleet_.trainers().find(trainer);
    if (found != fleet_.trainers().end()) {
      found->second.send(StopMessage(progress.lease(), "the lease is no longer yours"));
    }
    return;
  }
  if (progress.news() > NewsStored(progress.lease())) {
    const absl::Status stored = StoreNews(progress);
    if (!stored.ok()) {
      LogError("storing news of %s/%s: %s; %s tells them again", key.member, key.stage,
               stored.ToString(), trainer);
    }
  }
  const auto sender = fleet_.trainers().find(trainer);
  if (sender != fleet_.trainers().end()) {
    v1::CoordinatorMessage renewed;
    *renewed.mutable_renewed()->mutable_lease() = progress.lease();
    renewed.mutable_renewed()->set_sequence(progress.sequence());
    renewed.mutable_renewed()->set_news_stored(NewsStored(progress.lease()));
    sender->second.send(renewed);
  }
  LiveProgress& live = progress_[key];
  live.progress = progress;
  live.progress.clear_finished_epochs();
  live.progress.clear_log_lines();
  live.progress.clear_news();
  live.version = ++progress_version_;
  notifier_->Notify(key.run_id);
}

int64_t RunExecutor::NewsStored(const v1::Lease& lease) const {
  const auto run = running_.find(lease.run_id());
  if (run == running_.end()) return 0;
  for (const v1::Task& task : run->second.tasks) {
    if (task.member() != lease.member() || task.stage() != lease.stage()) continue;
    if (task.attempts().empty()) return 0;
    const v1::Attempt& attempt = task.attempts(task.attempts_size() - 1);
    return attempt.lease_epoch() == lease.epoch() ? attempt.news_stored() : 0;
  }
  return 0;
}

absl::Status RunExecutor::StoreNews(const v1::TaskProgress& progress) {
  const int64_t now = UnixMillis(clock_.WallNow());
  const auto store = [&](RunChange& change, Transaction&)
                         ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(v1::Task* const task, FencedTask(change, progress.lease()));
    RunningAttempt(*task)->set_news_stored(progress.news());
    v1::TaskEvent& event = change.AddTaskEvent(*task, "", now);
    *event.mutable_finished_epochs() = progress.finished_epochs();
    *event.mutable_log_lines() = progress.log_lines();
    return absl::OkStatus();
  };
  return Mutate(progress.lease().run_id(), store);
}

void RunExecutor::OnDraining(const std::string& trainer) {
  MutexLock lock(mutex_);
  const auto found = fleet_.trainers().find(trainer);
  if (found != fleet_.trainers().end()) found->second.draining = true;
}

void RunExecutor::Disconnect(const std::string& trainer, int64_t session) {
  MutexLock lock(mutex_);
  const auto found = fleet_.trainers().find(trainer);
  // A newer stream of the same trainer may have taken over already. The lease stays until it
  // expires.
  if (found != fleet_.trainers().end() && found->second.session == session) {
    fleet_.trainers().erase(found);
  }
}

absl::StatusOr<v1::Task*> RunExecutor::FencedTask(RunChange& change, const v1::Lease& lease) {
  v1::Task* task = change.Edit(lease.member(), lease.stage());
  if (task == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("the run has no task ", lease.member(), "/", lease.stage()));
  }
  const v1::Attempt* attempt = RunningAttempt(*task);
  if (attempt == nullptr || attempt->lease_epoch() != lease.epoch()) {
    return absl::AbortedError(absl::StrCat("lease ", lease.epoch(), " of ", lease.member(), "/",
                                           lease.stage(),
                                           " is not the current one; stop the task"));
  }
  return task;
}

absl::Status RunExecutor::ApplyDone(RunChange& change, Transaction& transaction,
                                    const v1::FinishTaskRequest& request, v1::Task& task,
                                    int64_t now) {
  const TaskKey key = KeyOf(request.lease());
  if (request.result().weights_digest().empty()) {
    return absl::InvalidArgumentError("result.weights_digest is missing");
  }
  const std::vector<std::string> digests = DigestsOf(request.result());
  ATELIER_RETURN_IF_ERROR(CheckStored(digests));
  for (const std::string& digest : digests) {
    ATELIER_RETURN_IF_ERROR(transaction.AddReference(digest, ResultOwner(key)));
  }
  for (const v1::AppliedStep& step : request.applied()) {
    ATELIER_RETURN_IF_ERROR(transaction.AddAppliedStep(key, request.lease().epoch(), step));
  }
  *task.mutable_result() = request.result();
  task.set_state(v1::TASK_DONE);
  task.clear_error();
  change.AddTaskEvent(task, "done", now);
  return absl::OkStatus();
}

absl::Status RunExecutor::ApplyFailure(RunChange& change, Transaction& transaction,
                                       const v1::FinishTaskRequest& request,
                                       const std::set<std::string>& damaged, v1::Task& task,
                                       int64_t now) {
  task.set_state(v1::TASK_WAITING);
  task.set_error(request.error());
  task.set_error_final(!request.retryable());
  task.set_not_before_unix_ms(now + BackoffAfter(FruitlessAttempts(task)).count());
  change.AddTaskEvent(
      task, absl::StrCat("attempt ", task.attempts_size(), " failed: ", request.error()), now);
  if (!MayBeDamaged(request, task)) return absl::OkStatus();
  return LeaveDamage(change, transaction, task, damaged, now);
}

absl::Status RunExecutor::ApplyFinish(RunChange& change, Transaction& transaction,
                                      const v1::FinishTaskRequest& request,
                                      const std::set<std::string>& damaged) {
  const int64_t now = UnixMillis(clock_.WallNow());
  ATELIER_ASSIGN_OR_RETURN(v1::Task* const task, FencedTask(change, request.lease()));
  v1::Attempt& attempt = *RunningAttempt(*task);
  // One that failed as it loaded says nothing of where it is.
  *attempt.mutable_end() = Before(request.cursor(), task->checkpoint_cursor())
                               ? task->checkpoint_cursor()
                               : request.cursor();
  attempt.set_ended_unix_ms(now);
  attempt.set_error(request.error());
  switch (request.end()) {
    case v1::FinishTaskRequest::DONE:
      attempt.set_end_kind(v1::ATTEMPT_DONE);
      return ApplyDone(change, transaction, request, *task, now);
    case v1::FinishTaskRequest::FAILED:
      attempt.set_end_kind(v1::ATTEMPT_FAILED);
      return ApplyFailure(change, transaction, request, damaged, *task, now);
    case v1::FinishTaskRequest::RELEASED:
    case v1::FinishTaskRequest::CANCELLED:
      attempt.set_end_kind(v1::ATTEMPT_CANCELLED);
      task->set_state(v1::TASK_WAITING);
      change.AddTaskEvent(*task, "given back by " + attempt.trainer(), now);
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("end: DONE, FAILED, RELEASED or CANCELLED");
  }
}

absl::Status RunExecutor::FinishTask(const v1::FinishTaskRequest& request) {
  const TaskKey key = KeyOf(request.lease());
  const std::set<std::string> damaged = request.end() == v1::FinishTaskRequest::FAILED
                                            ? FindDamage(request)
                                            : std::set<std::string>();
  {
    MutexLock lock(mutex_);
    std::string response;
    ATELIER_RETURN_IF_ERROR(
        Mutate(key.run_id,
               [&](RunChange& change, Transaction& transaction) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                 return Idempotent(transaction, request.request_id(), request, &response,
                                   [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                     return ApplyFinish(change, transaction, request, damaged);
                                   });
               }));
    const auto lease = fleet_.leases().find(key);
    if (lease != fleet_.leases().end() && lease->second.epoch == request.lease().epoch()) {
      fleet_.leases().erase(lease);
      progress_.erase(key);
    }
  }
  Kick();
  return absl::OkStatus();
}

void RunExecutor::RegisterDataService(const v1::RegisterDataServiceRequest& request) {
  {
    MutexLock lock(mutex_);
    fleet_.RegisterData(request, clock_.Now());
  }
  Kick();
}

v1::ListFleetResponse RunExecutor::ListFleet() {
  MutexLock lock(mutex_);
  return fleet_.List(clock_.Now());
}

std::vector<std::string> RunExecutor::DataAddresses() {
  MutexLock lock(mutex_);
  return fleet_.DataAddresses(clock_.Now());
}

RunExecutor::Counts RunExecutor::GetCounts() {
  MutexLock lock(mutex_);
  Counts counts;
  for (const auto& [id, record] : running_) {
    for (const v1::Task& task : record.tasks) ++counts.tasks[v1::TaskState_Name(task.state())];
  }
  counts.trainers = static_cast<int>(fleet_.trainers().size());
  counts.data_services = static_cast<int>(fleet_.DataAddresses(clock_.Now()).size());
  counts.leases_expired = leases_expired_;
  counts.checkpoints = checkpoints_;
  return counts;
}

}  // namespace atelier::coordinator
