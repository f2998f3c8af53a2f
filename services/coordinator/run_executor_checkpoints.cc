// RunExecutor's checkpoints: which are kept, and which is gone back to.
#include <set>
#include <utility>

#include "common/base/status.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {
namespace {

// Checkpoints of a task that are kept.
constexpr size_t kKeptCheckpoints = 2;

bool SameCheckpoint(const CheckpointRow& row, const v1::CommitCheckpointRequest& request) {
  return row.digest == request.digest() &&
         row.best_weights_digest == request.best_weights_digest() &&
         row.cursor.epoch() == request.cursor().epoch() &&
         row.cursor.step() == request.cursor().step();
}

absl::Status KeepCheckpoint(RunChange& change, Transaction& transaction, const TaskKey& key,
                            const v1::CommitCheckpointRequest& request) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows, transaction.ListCheckpoints(key));
  // A drain right after a save commits the same file again: it is no second one to fall back to.
  if (!rows.empty() && SameCheckpoint(rows.front(), request)) return absl::OkStatus();
  const CheckpointRow added{rows.empty() ? 1 : rows.front().sequence + 1, request.digest(),
                            request.best_weights_digest(), request.cursor()};
  ATELIER_RETURN_IF_ERROR(transaction.AddCheckpoint(key, added));
  const std::string owner = CheckpointOwner(key, added.sequence);
  ATELIER_RETURN_IF_ERROR(transaction.AddReference(added.digest, owner));
  ATELIER_RETURN_IF_ERROR(transaction.AddReference(added.best_weights_digest, owner));
  for (size_t i = kKeptCheckpoints - 1; i < rows.size(); ++i) {
    ATELIER_RETURN_IF_ERROR(RemoveCheckpoint(change, transaction, key, rows[i]));
  }
  return absl::OkStatus();
}

// It, or the best weights that a training that goes on from it needs at its end.
bool AnyDamaged(const CheckpointRow& row, const std::set<std::string>& damaged) {
  return damaged.contains(row.digest) || damaged.contains(row.best_weights_digest);
}

absl::Status ListCheckpointsOf(Transaction& transaction, const std::string& run_id,
                               const v1::Task& task, std::set<std::string>& digests) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows,
                           transaction.ListCheckpoints({run_id, task.member(), task.stage()}));
  for (const CheckpointRow& row : rows) {
    digests.insert(row.digest);
    if (!row.best_weights_digest.empty()) digests.insert(row.best_weights_digest);
  }
  return absl::OkStatus();
}

// What a task that fails so began from, and could go back to.
absl::Status ListStart(Transaction& transaction, const v1::FinishTaskRequest& request,
                       std::set<std::string>& digests) {
  const std::string& run_id = request.lease().run_id();
  ATELIER_ASSIGN_OR_RETURN(const RunRecord record, transaction.GetRun(run_id));
  for (v1::Task task : record.tasks) {
    if (task.member() != request.lease().member() || task.stage() != request.lease().stage() ||
        task.state() != v1::TASK_RUNNING) {
      continue;
    }
    RunningAttempt(task)->set_end_kind(v1::ATTEMPT_FAILED);
    if (!MayBeDamaged(request, task)) break;
    ATELIER_RETURN_IF_ERROR(ListCheckpointsOf(transaction, run_id, task, digests));
    const v1::Task* const before = StageBefore(record, task);
    if (before == nullptr || !task.checkpoint_digest().empty()) break;
    digests.insert(before->result().weights_digest());
    return ListCheckpointsOf(transaction, run_id, *before, digests);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunExecutor::ApplyCheckpoint(RunChange& change, Transaction& transaction,
                                          const v1::CommitCheckpointRequest& request) {
  const TaskKey key = KeyOf(request.lease());
  ATELIER_ASSIGN_OR_RETURN(v1::Task* const task, FencedTask(change, request.lease()));
  if (request.digest().empty()) return absl::InvalidArgumentError("digest is missing");
  if (Before(request.cursor(), task->checkpoint_cursor())) {
    return absl::InvalidArgumentError("the checkpoint is behind the last one committed");
  }
  ATELIER_RETURN_IF_ERROR(CheckStored({request.digest(), request.best_weights_digest()}));
  for (const v1::AppliedStep& step : request.applied()) {
    ATELIER_RETURN_IF_ERROR(transaction.AddAppliedStep(key, request.lease().epoch(), step));
  }
  ATELIER_RETURN_IF_ERROR(KeepCheckpoint(change, transaction, key, request));
  *task->mutable_checkpoint_cursor() = request.cursor();
  task->set_checkpoint_digest(request.digest());
  if (!task->has_environment()) *task->mutable_environment() = request.environment();
  return absl::OkStatus();
}

absl::Status RunExecutor::CommitCheckpoint(const v1::CommitCheckpointRequest& request) {
  MutexLock lock(mutex_);
  std::string response;
  const absl::Status status =
      Mutate(request.lease().run_id(),
             [&](RunChange& change, Transaction& transaction) ABSL_NO_THREAD_SAFETY_ANALYSIS {
               return Idempotent(transaction, request.request_id(), request, &response,
                                 [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                   return ApplyCheckpoint(change, transaction, request);
                                 });
             });
  if (status.ok()) {
    ++checkpoints_;
    fleet_.Renew(request.lease(), clock_.Now() + options_.lease_ttl);
  }
  return status;
}

bool RunExecutor::IsDamaged(const std::string& digest) {
  // Other errors, such as no free descriptor, say nothing of the bytes.
  const auto is_damage = [](const absl::Status& status) {
    return absl::IsDataLoss(status) || absl::IsNotFound(status);
  };
  const auto reader = artifacts_.Open(digest);
  if (!reader.ok()) return is_damage(reader.status());
  while (true) {
    const auto piece = (*reader)->Read(size_t{1} << 20);
    if (!piece.ok()) return is_damage(piece.status());
    if (piece->empty()) return false;
  }
}

std::set<std::string> RunExecutor::FindDamage(const v1::FinishTaskRequest& request) {
  std::set<std::string> digests;
  {
    MutexLock lock(mutex_);
    const absl::Status listed = store_.Transact(
        [&](Transaction& transaction) { return ListStart(transaction, request, digests); });
    if (!listed.ok()) return {};  // the request itself is about to meet that
  }
  std::erase_if(digests, [this](const std::string& digest) { return !IsDamaged(digest); });
  return digests;
}

absl::Status RunExecutor::LeaveDamage(RunChange& change, Transaction& transaction, v1::Task& task,
                                      const std::set<std::string>& damaged, int64_t now) {
  if (!task.checkpoint_digest().empty()) {
    return DropDamagedCheckpoints(change, transaction, task, damaged, now);
  }
  // Without an attempt left nobody would use the weights that are trained again; `runs resume`
  // gives new ones.
  if (FruitlessAttempts(task) >= change.record.run.plan().max_attempts()) return absl::OkStatus();
  const v1::Task* const before = StageBefore(change.record, task);
  if (before == nullptr || !damaged.contains(before->result().weights_digest())) {
    return absl::OkStatus();
  }
  task.set_error_final(false);
  v1::Task& again = *change.Edit(before->member(), before->stage());
  const TaskKey key{change.record.run.run_id(), again.member(), again.stage()};
  ATELIER_RETURN_IF_ERROR(transaction.RemoveReferences(ResultOwner(key)));
  for (const std::string& digest : DigestsOf(again.result())) {
    change.maybe_unreferenced.push_back(digest);
  }
  ATELIER_RETURN_IF_ERROR(transaction.RemoveAppliedFrom(key, again.checkpoint_cursor()));
  again.clear_result();
  again.set_state(v1::TASK_WAITING);
  change.AddTaskEvent(again, "its weights are damaged; training them again", now);
  return DropDamagedCheckpoints(change, transaction, again, damaged, now);
}

absl::Status RunExecutor::DropDamagedCheckpoints(RunChange& change, Transaction& transaction,
                                                 v1::Task& task,
                                                 const std::set<std::string>& damaged,
                                                 int64_t now) {
  const TaskKey key{change.record.run.run_id(), task.member(), task.stage()};
  ATELIER_ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows, transaction.ListCheckpoints(key));
  if (rows.empty() || !AnyDamaged(rows.front(), damaged)) return absl::OkStatus();
  task.set_error_final(false);
  task.clear_checkpoint_digest();
  task.clear_checkpoint_cursor();
  for (const CheckpointRow& row : rows) {
    if (row.cursor.epoch() >= 0 && !AnyDamaged(row, damaged)) {
      task.set_checkpoint_digest(row.digest);
      *task.mutable_checkpoint_cursor() = row.cursor;
      break;
    }
    ATELIER_RETURN_IF_ERROR(RemoveCheckpoint(change, transaction, key, row));
  }
  ATELIER_RETURN_IF_ERROR(transaction.RemoveAppliedFrom(key, task.checkpoint_cursor()));
  change.AddTaskEvent(
      task, "the last checkpoint is damaged; going back to " + Position(task.checkpoint_cursor()),
      now);
  return absl::OkStatus();
}

}  // namespace atelier::coordinator
