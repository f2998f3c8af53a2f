// Who does what next: a pure function of a snapshot of runs and fleet. No clock, no I/O.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "atelier/v1/coordinator.pb.h"
#include "services/coordinator/task_key.h"

namespace atelier::coordinator {

using SteadyTime = std::chrono::steady_clock::time_point;

struct TaskView {
  TaskKey key;
  std::string backbone;
  int stage_index = 0;
  v1::TaskState state = v1::TASK_WAITING;
  // By the wall clock. Further off than kMaxBackoff it counts as over: the clock was set back.
  int64_t not_before_unix_ms = 0;
  // Attempts in a row, up to now, that ended without moving the checkpoint on.
  int fruitless_attempts = 0;
  std::string last_error;
  // The trainer said that trying again cannot help: the task fails whatever it had reached.
  bool last_error_final = false;
  // Running only.
  int64_t lease_epoch = 0;
  SteadyTime lease_deadline{};
};

struct RunView {
  std::string run_id;
  int max_attempts = 5;
  std::vector<TaskView> tasks;  // by member, then stage
};

struct TrainerView {
  std::string id;
  std::vector<std::string> backbones;  // empty: all
  bool draining = false;
  bool busy = false;
  // Connected, but not heard of for a lease's length: a task given to it would be lost as well.
  bool silent = false;
};

struct Snapshot {
  SteadyTime now{};
  int64_t now_unix_ms = 0;
  bool data_service_there = false;
  std::vector<RunView> runs;          // oldest first
  std::vector<TrainerView> trainers;  // by id
};

struct ExpireLease {
  TaskKey key;
  int64_t lease_epoch;
};
struct GrantLease {
  TaskKey key;
  std::string trainer;
};
struct FailTask {
  TaskKey key;
  std::string cause;
};
struct FinishRun {
  std::string run_id;
};  // every task is done: publish
struct FailRun {
  std::string run_id;
  std::string cause;
};  // nothing is left to do and a task failed

using Action = std::variant<ExpireLease, GrantLease, FailTask, FinishRun, FailRun>;

// The actions that the snapshot asks for, in the order to apply them. After applying them, asking
// again with the new snapshot gives no further action until something changes.
std::vector<Action> Decide(const Snapshot& snapshot);

// The next moment at which time alone changes the answer; SteadyTime::max() if none.
SteadyTime NextDeadline(const Snapshot& snapshot);

// Trailing attempts of `task` that were lost or failed without a checkpoint of their own.
int FruitlessAttempts(const v1::Task& task);

inline constexpr std::chrono::seconds kMaxBackoff{60};

// Pause before attempt n + 1 after n fruitless ones: none after the first, then 1, 2, 4, …
// kMaxBackoff.
std::chrono::milliseconds BackoffAfter(int fruitless_attempts);

}  // namespace atelier::coordinator
