#include "services/coordinator/policy.h"

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/testing/status_matchers.h"

namespace atelier::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SteadyTime kNow{std::chrono::hours(1)};
constexpr int64_t kNowMs = 1'000'000;

// One word for each action, so that a table can name them.
std::string Text(const Action& action) {
  if (const auto* a = std::get_if<ExpireLease>(&action)) {
    return absl::StrCat("expire ", a->key.member, "/", a->key.stage, "#", a->lease_epoch);
  }
  if (const auto* a = std::get_if<GrantLease>(&action)) {
    return absl::StrCat("grant ", a->key.member, "/", a->key.stage, " to ", a->trainer);
  }
  if (const auto* a = std::get_if<FailTask>(&action)) {
    return absl::StrCat("fail ", a->key.member, "/", a->key.stage, ": ", a->cause);
  }
  if (const auto* a = std::get_if<FinishRun>(&action)) return "finish " + a->run_id;
  const auto& a = std::get<FailRun>(action);
  return absl::StrCat("fail run ", a.run_id, ": ", a.cause);
}

std::vector<std::string> Texts(const Snapshot& snapshot) {
  std::vector<std::string> texts;
  for (const Action& action : Decide(snapshot)) texts.push_back(Text(action));
  return texts;
}

TaskView MakeTask(const std::string& member, int stage_index, v1::TaskState state) {
  TaskView task;
  task.key = {"r", member, stage_index == 0 ? "train" : "retrain"};
  task.backbone = "tiny_cnn";
  task.stage_index = stage_index;
  task.state = state;
  if (state == v1::TASK_RUNNING) {
    task.lease_epoch = 3;
    task.lease_deadline = kNow + std::chrono::seconds(5);
  }
  return task;
}

TrainerView MakeTrainer(const std::string& id) {
  TrainerView trainer;
  trainer.id = id;
  return trainer;
}

// Run "r": members a and b with stages train and retrain, all waiting; trainers t1 and t2 are free.
Snapshot MakeSnapshot() {
  Snapshot snapshot;
  snapshot.now = kNow;
  snapshot.now_unix_ms = kNowMs;
  snapshot.data_service_there = true;
  RunView& run = snapshot.runs.emplace_back();
  run.run_id = "r";
  for (const char* member : {"a", "b"}) {
    for (int stage : {0, 1}) run.tasks.push_back(MakeTask(member, stage, v1::TASK_WAITING));
  }
  snapshot.trainers = {MakeTrainer("t1"), MakeTrainer("t2")};
  return snapshot;
}

TaskView& TaskOf(Snapshot& snapshot, int index) {
  return snapshot.runs[0].tasks[static_cast<size_t>(index)];
}
constexpr int kATrain = 0, kARetrain = 1, kBTrain = 2, kBRetrain = 3;

struct Row {
  const char* name;
  std::function<void(Snapshot&)> change;
  std::vector<std::string> expected;
};

class PolicyTable : public ::testing::TestWithParam<Row> {};

TEST_P(PolicyTable, Decides) {
  Snapshot snapshot = MakeSnapshot();
  GetParam().change(snapshot);
  EXPECT_EQ(Texts(snapshot), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    Snapshots, PolicyTable,
    ::testing::Values(
        Row{"FirstStagesGoToFreeTrainersOneEach",
            [](Snapshot&) {},
            {"grant a/train to t1", "grant b/train to t2"}},
        Row{"OneTaskATrainer", [](Snapshot& s) { s.trainers.pop_back(); }, {"grant a/train to t1"}},
        Row{"BusyDrainingAndSilentTrainersGetNothing",
            [](Snapshot& s) {
              s.trainers = {MakeTrainer("t1"), MakeTrainer("t2"), MakeTrainer("t3"),
                            MakeTrainer("t4")};
              s.trainers[0].busy = true;
              s.trainers[1].draining = true;
              s.trainers[2].silent = true;
            },
            {"grant a/train to t4"}},
        Row{"OnlyATrainerThatHasTheBackbone",
            [](Snapshot& s) {
              s.trainers[0].backbones = {"xception"};
              s.trainers[1].backbones = {"xception", "tiny_cnn"};
            },
            {"grant a/train to t2"}},
        Row{"NothingWithoutADataService", [](Snapshot& s) { s.data_service_there = false; }, {}},
        Row{"NotBeforeItsBackoffEnds",
            [](Snapshot& s) { TaskOf(s, kATrain).not_before_unix_ms = kNowMs + 1; },
            {"grant b/train to t1"}},
        Row{"AtTheEndOfItsBackoff",
            [](Snapshot& s) { TaskOf(s, kATrain).not_before_unix_ms = kNowMs; },
            {"grant a/train to t1", "grant b/train to t2"}},
        Row{"NotBeforeTheLongestBackoffEnds",
            [](Snapshot& s) { TaskOf(s, kATrain).not_before_unix_ms = kNowMs + 59'000; },
            {"grant b/train to t1"}},
        Row{"ABackoffThatAClockSetBackMadeLongerIsOver",
            [](Snapshot& s) { TaskOf(s, kATrain).not_before_unix_ms = kNowMs + 9 * 3'600'000; },
            {"grant a/train to t1", "grant b/train to t2"}},
        Row{"ASecondStageOnceTheFirstIsDone",
            [](Snapshot& s) { TaskOf(s, kATrain).state = v1::TASK_DONE; },
            {"grant a/retrain to t1", "grant b/train to t2"}},
        Row{"NotASecondStageWhileTheFirstRuns",
            [](Snapshot& s) {
              s.runs[0].tasks[kATrain] = MakeTask("a", 0, v1::TASK_RUNNING);
              s.trainers[0].busy = true;
            },
            {"grant b/train to t2"}},
        Row{"ALeaseThatRanOutExpires",
            [](Snapshot& s) {
              s.runs[0].tasks[kATrain] = MakeTask("a", 0, v1::TASK_RUNNING);
              TaskOf(s, kATrain).lease_deadline = kNow;
              s.trainers = {};
            },
            {"expire a/train#3"}},
        Row{"ALeaseWithTimeLeftStays",
            [](Snapshot& s) {
              s.runs[0].tasks[kATrain] = MakeTask("a", 0, v1::TASK_RUNNING);
              TaskOf(s, kATrain).lease_deadline = kNow + std::chrono::nanoseconds(1);
              s.trainers = {};
            },
            {}},
        Row{"TooManyFruitlessAttemptsFailTheTaskWithItsCause",
            [](Snapshot& s) {
              s.trainers = {};
              TaskOf(s, kATrain).fruitless_attempts = 5;
              TaskOf(s, kATrain).last_error = "out of memory";
            },
            {"fail a/train: out of memory"}},
        Row{"OneAttemptIsLeft",
            [](Snapshot& s) { TaskOf(s, kATrain).fruitless_attempts = 4; },
            {"grant a/train to t1", "grant b/train to t2"}},
        Row{"AFinalErrorFailsTheTaskAtOnceWhateverItHadReached",
            [](Snapshot& s) {
              s.trainers = {};
              TaskOf(s, kATrain).last_error_final = true;
              TaskOf(s, kATrain).last_error = "wrong shape";
            },
            {"fail a/train: wrong shape"}},
        Row{"OthersGoOnBesideAFailedTask",
            [](Snapshot& s) {
              TaskOf(s, kATrain).state = v1::TASK_FAILED;
              TaskOf(s, kATrain).last_error = "x";
            },
            {"grant b/train to t1"}},
        Row{"TheRunGoesOnWhileOneOfItsTasksRuns",
            [](Snapshot& s) {
              TaskOf(s, kATrain).state = v1::TASK_FAILED;
              s.runs[0].tasks[kBTrain] = MakeTask("b", 0, v1::TASK_DONE);
              s.runs[0].tasks[kBRetrain] = MakeTask("b", 1, v1::TASK_RUNNING);
            },
            {}},
        Row{"TheRunFailsWithTheFirstCauseWhenNothingElseCanGoOn",
            [](Snapshot& s) {
              TaskOf(s, kATrain).state = v1::TASK_FAILED;
              TaskOf(s, kATrain).last_error = "wrong shape";
              TaskOf(s, kBTrain).state = v1::TASK_DONE;
              TaskOf(s, kBRetrain).state = v1::TASK_DONE;
            },
            {"fail run r: a (train): wrong shape"}},
        Row{"AllDoneFinishesTheRun",
            [](Snapshot& s) {
              for (TaskView& task : s.runs[0].tasks) task.state = v1::TASK_DONE;
            },
            {"finish r"}},
        Row{"TheOlderRunIsServedFirst",
            [](Snapshot& s) {
              RunView younger = s.runs[0];
              younger.run_id = "q";
              for (TaskView& task : younger.tasks) task.key.run_id = "q";
              younger.tasks[0].key.member = "young";
              s.runs.push_back(younger);
              s.trainers.pop_back();
            },
            {"grant a/train to t1"}}),
    [](const auto& row) { return row.param.name; });

TEST(NextDeadline, IsTheEarliestLeaseEndOrBackoffEnd) {
  Snapshot snapshot = MakeSnapshot();
  EXPECT_EQ(NextDeadline(snapshot), SteadyTime::max());
  TaskOf(snapshot, kBTrain).not_before_unix_ms = kNowMs + 9 * 3'600'000;
  EXPECT_EQ(NextDeadline(snapshot), SteadyTime::max()) << "the clock was set back";
  snapshot.runs[0].tasks[kATrain] = MakeTask("a", 0, v1::TASK_RUNNING);  // in 5 s
  EXPECT_EQ(NextDeadline(snapshot), kNow + std::chrono::seconds(5));
  TaskOf(snapshot, kBTrain).not_before_unix_ms = kNowMs + 2'000;
  EXPECT_EQ(NextDeadline(snapshot), kNow + std::chrono::seconds(2));
  // A back-off that is over changes nothing by time alone.
  TaskOf(snapshot, kBTrain).not_before_unix_ms = kNowMs;
  EXPECT_EQ(NextDeadline(snapshot), kNow + std::chrono::seconds(5));
}

v1::DataCursor Cursor(int epoch, int step) {
  v1::DataCursor cursor;
  cursor.set_epoch(epoch);
  cursor.set_step(step);
  return cursor;
}

void AddAttempt(v1::Task& task, v1::DataCursor start, v1::AttemptEnd end) {
  v1::Attempt& attempt = *task.add_attempts();
  *attempt.mutable_start() = std::move(start);
  attempt.set_end_kind(end);
}

TEST(FruitlessAttempts, CountsLostAndFailedOnesThatMovedNothing) {
  v1::Task task;
  EXPECT_EQ(FruitlessAttempts(task), 0);
  AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_LOST);
  AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_FAILED);
  EXPECT_EQ(FruitlessAttempts(task), 2);
}

TEST(FruitlessAttempts, StartsAgainWhenAnAttemptMovedTheCheckpointOn) {
  v1::Task task;
  for (int i = 0; i < 4; ++i) AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_LOST);
  AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_LOST);  // this one committed at step 10
  *task.mutable_checkpoint_cursor() = Cursor(0, 10);
  EXPECT_EQ(FruitlessAttempts(task), 0);
  AddAttempt(task, Cursor(0, 10), v1::ATTEMPT_LOST);
  EXPECT_EQ(FruitlessAttempts(task), 1);
}

TEST(FruitlessAttempts, ThoseBeforeAResumeDoNotCount) {
  v1::Task task;
  for (int i = 0; i < 3; ++i) AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_FAILED);
  task.set_attempts_forgiven(3);
  EXPECT_EQ(FruitlessAttempts(task), 0);
  AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_FAILED);
  EXPECT_EQ(FruitlessAttempts(task), 1);
}

TEST(FruitlessAttempts, OneGivenBackDoesNotCount) {
  v1::Task task;
  AddAttempt(task, Cursor(0, 0), v1::ATTEMPT_CANCELLED);
  EXPECT_EQ(FruitlessAttempts(task), 0);
}

TEST(BackoffAfter, DoublesUpToAMinute) {
  EXPECT_EQ(BackoffAfter(0), std::chrono::seconds(0));
  EXPECT_EQ(BackoffAfter(1), std::chrono::seconds(0));
  EXPECT_EQ(BackoffAfter(2), std::chrono::seconds(1));
  EXPECT_EQ(BackoffAfter(3), std::chrono::seconds(2));
  EXPECT_EQ(BackoffAfter(7), std::chrono::seconds(32));
  EXPECT_EQ(BackoffAfter(8), std::chrono::seconds(60));
  EXPECT_EQ(BackoffAfter(1000), std::chrono::seconds(60));
}

}  // namespace
}  // namespace atelier::coordinator
