#include "services/coordinator/policy.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace atelier::coordinator {
namespace {

bool CanTrain(const TrainerView& trainer, const std::string& backbone) {
  return trainer.backbones.empty() || std::find(trainer.backbones.begin(), trainer.backbones.end(),
                                                backbone) != trainer.backbones.end();
}

bool Exhausted(const RunView& run, const TaskView& task) {
  return task.last_error_final || task.fruitless_attempts >= run.max_attempts;
}

// What is left of the task's back-off.
std::chrono::milliseconds Pause(const Snapshot& snapshot, const TaskView& task) {
  const std::chrono::milliseconds left(task.not_before_unix_ms - snapshot.now_unix_ms);
  return left > kMaxBackoff ? std::chrono::milliseconds(0)
                            : std::max(left, std::chrono::milliseconds(0));
}

// The stage before is done, so its weights are there to start from.
bool Ready(const RunView& run, const TaskView& task) {
  for (const TaskView& other : run.tasks) {
    if (other.key.member == task.key.member && other.stage_index < task.stage_index &&
        other.state != v1::TASK_DONE) {
      return false;
    }
  }
  return true;
}

std::string FirstFailure(const RunView& run) {
  for (const TaskView& task : run.tasks) {
    if (task.state == v1::TASK_FAILED) {
      return absl::StrCat(task.key.member, " (", task.key.stage, "): ", task.last_error);
    }
  }
  return "";
}

void DecideRunEnd(const RunView& run, std::vector<Action>& actions) {
  bool all_done = true;
  bool can_go_on = false;
  for (const TaskView& task : run.tasks) {
    all_done &= task.state == v1::TASK_DONE;
    const bool blocked_for_good =
        task.state == v1::TASK_WAITING &&
        std::any_of(run.tasks.begin(), run.tasks.end(), [&](const TaskView& other) {
          return other.key.member == task.key.member && other.stage_index < task.stage_index &&
                 other.state == v1::TASK_FAILED;
        });
    can_go_on |= task.state == v1::TASK_RUNNING ||
                 (task.state == v1::TASK_WAITING && !blocked_for_good && !Exhausted(run, task));
  }
  if (all_done) {
    actions.push_back(FinishRun{run.run_id});
  } else if (!can_go_on && !FirstFailure(run).empty()) {
    actions.push_back(FailRun{run.run_id, FirstFailure(run)});
  }
}

}  // namespace

std::vector<Action> Decide(const Snapshot& snapshot) {
  std::vector<Action> actions;
  std::set<std::string> taken;
  for (const RunView& run : snapshot.runs) {
    for (const TaskView& task : run.tasks) {
      if (task.state == v1::TASK_RUNNING && task.lease_deadline <= snapshot.now) {
        actions.push_back(ExpireLease{task.key, task.lease_epoch});
      }
    }
    for (const TaskView& task : run.tasks) {
      if (task.state != v1::TASK_WAITING) continue;
      if (Exhausted(run, task)) {
        actions.push_back(FailTask{task.key, task.last_error});
        continue;
      }
      if (!snapshot.data_service_there || Pause(snapshot, task).count() > 0 || !Ready(run, task)) {
        continue;
      }
      for (const TrainerView& trainer : snapshot.trainers) {
        if (trainer.busy || trainer.draining || trainer.silent || taken.contains(trainer.id) ||
            !CanTrain(trainer, task.backbone)) {
          continue;
        }
        taken.insert(trainer.id);
        actions.push_back(GrantLease{task.key, trainer.id});
        break;
      }
    }
    DecideRunEnd(run, actions);
  }
  return actions;
}

SteadyTime NextDeadline(const Snapshot& snapshot) {
  SteadyTime next = SteadyTime::max();
  for (const RunView& run : snapshot.runs) {
    for (const TaskView& task : run.tasks) {
      if (task.state == v1::TASK_RUNNING) {
        next = std::min(next, task.lease_deadline);
      } else if (task.state == v1::TASK_WAITING && Pause(snapshot, task).count() > 0) {
        next = std::min(next, snapshot.now + Pause(snapshot, task));
      }
    }
  }
  return next;
}

int FruitlessAttempts(const v1::Task& task) {
  int count = 0;
  const v1::DataCursor* reached = &task.checkpoint_cursor();
  for (int i = task.attempts_size() - 1; i >= task.attempts_forgiven(); --i) {
    const v1::Attempt& attempt = task.attempts(i);
    if (attempt.end_kind() != v1::ATTEMPT_LOST && attempt.end_kind() != v1::ATTEMPT_FAILED) break;
    if (Before(attempt.start(), *reached)) break;
    ++count;
    reached = &attempt.start();
  }
  return count;
}

std::chrono::milliseconds BackoffAfter(int fruitless_attempts) {
  if (fruitless_attempts <= 1) return std::chrono::milliseconds(0);
  const int doublings = std::min(fruitless_attempts - 2, 6);
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(int64_t{1} << doublings),
                                             kMaxBackoff);
}

}  // namespace atelier::coordinator
