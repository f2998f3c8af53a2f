// A change of one run on its way into the store: a working copy that replaces the executor's own
// only after the commit.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "services/coordinator/policy.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

struct RunChange {
  RunRecord record;
  std::vector<v1::RunEvent> events;
  std::set<int> changed_tasks;                  // ordinals
  std::vector<std::string> maybe_unreferenced;  // artifacts to delete if nobody needs them

  // The task named, marked as changed; nullptr when the run has no such task.
  v1::Task* Edit(const std::string& member, const std::string& stage) {
    for (size_t i = 0; i < record.tasks.size(); ++i) {
      v1::Task& task = record.tasks[i];
      if (task.member() == member && task.stage() == stage) {
        changed_tasks.insert(static_cast<int>(i));
        return &task;
      }
    }
    return nullptr;
  }

  v1::TaskEvent& AddTaskEvent(const v1::Task& task, std::string text, int64_t unix_ms) {
    v1::RunEvent& event = events.emplace_back();
    event.set_unix_ms(unix_ms);
    v1::TaskEvent& body = *event.mutable_task();
    body.set_member(task.member());
    body.set_stage(task.stage());
    body.set_state(task.state());
    if (task.attempts_size() > 0)
      body.set_trainer(task.attempts(task.attempts_size() - 1).trainer());
    body.set_text(std::move(text));
    return body;
  }

  void AddRunEvent(v1::RunState state, std::string text, int64_t unix_ms) {
    v1::RunEvent& event = events.emplace_back();
    event.set_unix_ms(unix_ms);
    event.mutable_run()->set_state(state);
    event.mutable_run()->set_text(std::move(text));
  }
};

inline std::string Position(const v1::DataCursor& cursor) {
  return "epoch " + std::to_string(cursor.epoch()) + " step " + std::to_string(cursor.step());
}

// Whose references keep a checkpoint's artifacts.
inline std::string CheckpointOwner(const TaskKey& key, int64_t sequence) {
  return "checkpoint/" + key.run_id + "/" + key.member + "/" + key.stage + "/" +
         std::to_string(sequence);
}

// Whose references keep what a task ended with.
inline std::string ResultOwner(const TaskKey& key) {
  return "result/" + key.run_id + "/" + key.member + "/" + key.stage;
}

// The artifacts of a result.
inline std::vector<std::string> DigestsOf(const v1::TaskResult& result) {
  std::vector<std::string> digests = {result.weights_digest(), result.final_weights_digest(),
                                      result.validation_probabilities_digest(),
                                      result.test_probabilities_digest(),
                                      result.validation_labels_digest()};
  std::erase(digests, "");
  return digests;
}

// Reading a checkpoint takes its time: an attempt that got on, and may again, is no reason to.
// `task`: with the attempt ended.
inline bool MayBeDamaged(const v1::FinishTaskRequest& request, const v1::Task& task) {
  return !request.retryable() || FruitlessAttempts(task) > 0;
}

// The member's task of the stage before; nullptr for the first.
inline const v1::Task* StageBefore(const RunRecord& record, const v1::Task& task) {
  const v1::Task* before = nullptr;
  for (const v1::Task& other : record.tasks) {
    if (other.member() != task.member()) continue;
    if (other.stage() == task.stage()) break;
    before = &other;
  }
  return before;
}

// Forgets a checkpoint; its artifacts go after the commit, unless something else needs them.
inline absl::Status RemoveCheckpoint(RunChange& change, Transaction& transaction,
                                     const TaskKey& key, const CheckpointRow& row) {
  ATELIER_RETURN_IF_ERROR(transaction.RemoveCheckpoint(key, row.sequence));
  ATELIER_RETURN_IF_ERROR(transaction.RemoveReferences(CheckpointOwner(key, row.sequence)));
  change.maybe_unreferenced.push_back(row.digest);
  if (!row.best_weights_digest.empty()) {
    change.maybe_unreferenced.push_back(row.best_weights_digest);
  }
  return absl::OkStatus();
}

// The attempt that holds the lease; nullptr when none is running.
inline v1::Attempt* RunningAttempt(v1::Task& task) {
  if (task.state() != v1::TASK_RUNNING || task.attempts_size() == 0) return nullptr;
  return task.mutable_attempts(task.attempts_size() - 1);
}

}  // namespace atelier::coordinator
