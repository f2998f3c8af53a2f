// RunExecutor's checkpoints: which are kept, and which is gone back to.
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

bool RunExecutor::IsDamaged(const CheckpointRow& row) {
  return IsDamaged(row.digest) ||
         (!row.best_weights_digest.empty() && IsDamaged(row.best_weights_digest));
}

absl::Status RunExecutor::LeaveDamage(RunChange& change, Transaction& transaction, v1::Task& task,
                                      int64_t now) {
  if (!task.checkpoint_digest().empty()) {
    return DropDamagedCheckpoints(change, transaction, task, now);
  }
  const v1::Task* const before = StageBefore(change.record, task);
  if (before == nullptr || !IsDamaged(before->result().weights_digest())) return absl::OkStatus();
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
  return DropDamagedCheckpoints(change, transaction, again, now);
}

absl::Status RunExecutor::DropDamagedCheckpoints(RunChange& change, Transaction& transaction,
                                                 v1::Task& task, int64_t now) {
  const TaskKey key{change.record.run.run_id(), task.member(), task.stage()};
  ATELIER_ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows, transaction.ListCheckpoints(key));
  if (rows.empty() || !IsDamaged(rows.front())) return absl::OkStatus();
  task.set_error_final(false);
  task.clear_checkpoint_digest();
  task.clear_checkpoint_cursor();
  for (const CheckpointRow& row : rows) {
    if (row.cursor.epoch() >= 0 && !IsDamaged(row)) {
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
