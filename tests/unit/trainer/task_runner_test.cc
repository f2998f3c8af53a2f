#include "services/trainer/task_runner.h"

#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/trainer/checkpoint_file.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/trainer/scripted_training.h"

namespace atelier::trainer {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class TaskRunnerTest : public ::testing::Test {
 protected:
  // The next attempt, from the checkpoint committed last. A drained one trains nothing, but commits
  // a checkpoint of its own.
  void Attempt(bool drained) {
    v1::Assignment task = Task();
    task.mutable_plan()->set_threads(1);
    task.mutable_lease()->set_epoch(++attempts_);
    if (!fleet_.commits.empty()) {
      task.set_checkpoint_digest(fleet_.commits.back().digest());
      *task.mutable_environment() = fleet_.commits.front().environment();
    }
    RunnerOptions options;
    options.checkpoint_interval = std::chrono::hours(1);
    options.full_disk_pause = full_disk_pause_;
    TaskRunner runner(
        options, fleet_, registry_,
        [](const std::vector<std::string>&) { return std::make_unique<ScriptedSource>(); }, clock_);
    StopSignal stop;
    if (drained) stop.Stop(StopReason::kDrain);
    board_.Begin(task.lease(), kEpochs);
    runner.Run(task, board_, stop);
    ASSERT_FALSE(fleet_.finishes.empty());
    ASSERT_EQ(fleet_.finishes.back().end(),
              drained ? v1::FinishTaskRequest::RELEASED : v1::FinishTaskRequest::DONE)
        << fleet_.finishes.back().error();
  }
  // As if the checkpoint committed last had been written elsewhere.
  void Move(const std::function<void(v1::NumericEnvironment&)>& change) {
    v1::CommitCheckpointRequest& last = fleet_.commits.back();
    ASSERT_OK_AND_ASSIGN(Checkpoint checkpoint, ParseCheckpoint(registry_.stored[last.digest()]));
    change(*checkpoint.manifest.mutable_environment());
    ASSERT_OK_AND_ASSIGN(*last.mutable_digest(),
                         registry_.PutBytes(SerializeCheckpoint(checkpoint)));
  }
  std::string ResumedInexact() const { return fleet_.finishes.back().result().resumed_inexact(); }
  std::vector<std::string> LogLines() {
    const v1::TaskProgress progress = board_.Take(1);
    return {progress.log_lines().begin(), progress.log_lines().end()};
  }

  FakeFleet fleet_;
  FakeRegistry registry_;
  testing::FakeClock clock_;
  ProgressBoard board_;
  std::chrono::milliseconds full_disk_pause_{1};
  int attempts_ = 0;
};

// Also where nothing but the results is left to be kept.
TEST_F(TaskRunnerTest, ATaskOutlastsAFullDisk) {
  registry_.disk.full_for = 9;
  fleet_.disk.full_for = 9;
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/false));
  const size_t uploads = registry_.stored.size();
  registry_.stored.erase(fleet_.finishes.back().result().validation_probabilities_digest());
  registry_.disk.full_for = 9;
  fleet_.disk.full_for = 9;
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/false));
  EXPECT_EQ(registry_.stored.size(), uploads);
  EXPECT_EQ(registry_.disk.refused, 18);
  EXPECT_EQ(fleet_.disk.refused, 18);
}

// P11: the drain has its grace, a full disk has no end. The checkpoint before is what counts.
TEST_F(TaskRunnerTest, AFullDiskDoesNotHoldADrain) {
  full_disk_pause_ = std::chrono::hours(1);
  registry_.disk.full_for = 1;
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  EXPECT_EQ(registry_.disk.refused, 1);
  EXPECT_TRUE(fleet_.commits.empty());
}

TEST_F(TaskRunnerTest, AResumeInTheSameEnvironmentIsExact) {
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/false));
  EXPECT_EQ(ResumedInexact(), "");
  EXPECT_THAT(LogLines(), Not(Contains(HasSubstr("RESUMED_INEXACT"))));
}

// The third attempt has the second's environment: by its own checkpoint alone it would look exact.
TEST_F(TaskRunnerTest, EveryAttemptAfterAnInexactOneIsInexact) {
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  ASSERT_NO_FATAL_FAILURE(Move([](v1::NumericEnvironment& e) { e.set_isa("another"); }));
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  EXPECT_THAT(LogLines(), Contains(HasSubstr("RESUMED_INEXACT: isa differ")));
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/false));
  EXPECT_EQ(ResumedInexact(), "isa");
}

TEST_F(TaskRunnerTest, FieldsThatDifferAtSeveralResumesAreToldOnceInTheirOrder) {
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  ASSERT_NO_FATAL_FAILURE(Move([](v1::NumericEnvironment& e) { e.set_libtorch("another"); }));
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/true));
  ASSERT_NO_FATAL_FAILURE(Move([](v1::NumericEnvironment& e) {
    e.set_libtorch("another");
    e.set_build("another");
  }));
  ASSERT_NO_FATAL_FAILURE(Attempt(/*drained=*/false));
  EXPECT_EQ(ResumedInexact(), "libtorch, build");
}

}  // namespace
}  // namespace atelier::trainer
