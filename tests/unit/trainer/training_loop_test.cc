#include "services/trainer/training_loop.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/nn/predictor.h"
#include "common/nn/tensor_io.h"
#include "services/trainer/evaluation.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/trainer/scripted_training.h"

namespace atelier::trainer {
namespace {

// Time stands still; the loop's `stop_at`-th look at it drains the loop, on the loop's own thread.
class StoppingClock final : public Clock {
 public:
  StoppingClock(StopSignal& stop, int stop_at) : stop_(stop), left_(stop_at) {}
  std::chrono::steady_clock::time_point Now() const override {
    if (--left_ == 0) stop_.Stop(StopReason::kDrain);
    return {};
  }
  std::chrono::system_clock::time_point WallNow() const override { return {}; }

 private:
  StopSignal& stop_;
  mutable int left_;
};

struct Outcome {
  std::string weights;
  std::vector<std::string> history;
  std::vector<std::pair<int, int>> committed;
  bool drained = false;
};

// Trains from a fresh state, or from what `registry` holds of the last commit.
absl::StatusOr<LoopEnd> TrainOnce(FakeFleet& fleet, FakeRegistry& registry, int stop_at,
                                  Outcome& out) {
  const v1::Assignment task = Task();
  ATELIER_ASSIGN_OR_RETURN(TrainingState state, TrainingState::Fresh(task));
  if (!fleet.commits.empty()) {
    ATELIER_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                             ParseCheckpoint(registry.stored[fleet.commits.back().digest()]));
    ATELIER_RETURN_IF_ERROR(state.Restore(task, checkpoint));
  }
  ScriptedSource source;
  StopSignal stop;
  StoppingClock clock(stop, stop_at);
  ProgressBoard board;
  CheckpointWriter writer(fleet, registry, task.lease(), state.best_weights_digest, stop);
  TrainingLoop loop(task, {}, state, source, writer, board, stop, clock);
  ATELIER_ASSIGN_OR_RETURN(const LoopEnd end, loop.Run());
  ATELIER_RETURN_IF_ERROR(writer.Flush());
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : state.model->NamedTensors()) tensors[name] = tensor.detach();
  out.weights = Sha256Hex(nn::SaveTensorsToSafetensors(tensors));
  out.history.clear();
  for (const v1::EpochMetrics& epoch : state.history) {
    out.history.push_back(epoch.ShortDebugString());
  }
  return end;
}

Outcome Train(int stop_at) {
  FakeFleet fleet;
  FakeRegistry registry;
  Outcome out;
  auto end = TrainOnce(fleet, registry, stop_at, out);
  EXPECT_THAT(end, testing::IsOk());
  out.drained = end.ok() && *end == LoopEnd::kDrained;
  if (out.drained) {
    EXPECT_THAT(TrainOnce(fleet, registry, 0, out), testing::IsOkAndHolds(LoopEnd::kFinished));
  }
  for (const v1::CommitCheckpointRequest& commit : fleet.commits) {
    for (const v1::AppliedStep& step : commit.applied()) {
      out.committed.emplace_back(step.epoch(), step.step());
    }
  }
  return out;
}

TEST(TrainingLoop, ADrainedAndResumedTrainingEndsWithTheSameBits) {
  at::set_num_threads(1);
  std::vector<std::pair<int, int>> every_step;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    for (int step = 0; step < kSteps; ++step) every_step.emplace_back(epoch, step);
  }
  const Outcome undisturbed = Train(/*stop_at=*/0);
  ASSERT_FALSE(undisturbed.drained);
  EXPECT_EQ(undisturbed.committed, every_step);
  EXPECT_EQ(undisturbed.history.size(), kEpochs);
  int drained = 0;
  // Every look at the clock: some come just after a checkpoint, which then is saved again as it is.
  for (int stop_at = 1; stop_at <= 36; ++stop_at) {
    const Outcome resumed = Train(stop_at);
    drained += resumed.drained ? 1 : 0;
    EXPECT_EQ(resumed.weights, undisturbed.weights) << stop_at;
    EXPECT_EQ(resumed.history, undisturbed.history) << stop_at;
    EXPECT_EQ(resumed.committed, every_step) << stop_at;
  }
  EXPECT_GT(drained, 20) << "the stops fall into the training";
}

// A checkpoint's digest is of its own epoch's steps (checkpoint.proto), whatever came before.
TEST(TrainingLoop, TheLedgersDigestBeginsAnewWithEachEpoch) {
  FakeFleet fleet;
  FakeRegistry registry;
  Outcome out;
  // In the second epoch: the loop looks at the clock some ten times in each.
  ASSERT_THAT(TrainOnce(fleet, registry, /*stop_at=*/20, out),
              testing::IsOkAndHolds(LoopEnd::kDrained));
  int epoch_ends = 0;
  for (const v1::CommitCheckpointRequest& commit : fleet.commits) {
    ASSERT_OK_AND_ASSIGN(const Checkpoint checkpoint,
                         ParseCheckpoint(registry.stored[commit.digest()]));
    std::string expected = Sha256Hex("");
    epoch_ends += checkpoint.manifest.cursor().step() == 0 ? 1 : 0;
    for (const v1::AppliedStep& step : commit.applied()) {
      if (step.epoch() < checkpoint.manifest.cursor().epoch()) continue;
      expected = ExtendLedger(expected, step.step(), step.batch_digest());
    }
    EXPECT_EQ(checkpoint.manifest.epoch_ledger_digest(), expected);
  }
  EXPECT_GT(epoch_ends, 0);
  EXPECT_GT(fleet.commits.back().cursor().step(), 0) << "the stop falls into an epoch";
}

// The task's owner reports the failure while the signal lives on, and a drain may come then.
TEST(TrainingLoop, AnExceptionLeavesNoInterruptBehind) {
  v1::Assignment task = Task();
  task.add_class_weights(1);  // LibTorch finds none for the second class
  FakeFleet fleet;
  FakeRegistry registry;
  ASSERT_OK_AND_ASSIGN(TrainingState state, TrainingState::Fresh(task));
  StopSignal stop;
  int cancels = 0;
  // The drain comes when the stream is about to go: an interrupt left behind still finds it alive.
  ScriptedSource source(kClasses, [&] {
    if (++cancels == 1) stop.Stop(StopReason::kDrain);
  });
  StoppingClock clock(stop, 0);
  ProgressBoard board;
  CheckpointWriter writer(fleet, registry, task.lease(), "", stop);
  TrainingLoop loop(task, {}, state, source, writer, board, stop, clock);
  EXPECT_THROW(loop.Run().IgnoreError(), c10::Error);
  ASSERT_EQ(cancels, 1) << "the reader's own";
  stop.Stop(StopReason::kDrain);
  EXPECT_EQ(cancels, 1);
}

// One number a picture would broadcast over the classes, and train on garbage.
TEST(TrainingLoop, LabelsOfAnotherNumberOfClassesAreDataLoss) {
  for (const int classes : {1, 0, kClasses - 1, kClasses + 1}) {
    SCOPED_TRACE(classes);
    const v1::Assignment task = Task();
    FakeFleet fleet;
    FakeRegistry registry;
    ASSERT_OK_AND_ASSIGN(TrainingState state, TrainingState::Fresh(task));
    ScriptedSource source(classes);
    StopSignal stop;
    StoppingClock clock(stop, 0);
    ProgressBoard board;
    CheckpointWriter writer(fleet, registry, task.lease(), "", stop);
    TrainingLoop loop(task, {}, state, source, writer, board, stop, clock);
    const auto refused =
        testing::StatusIs(absl::StatusCode::kDataLoss,
                          ::testing::HasSubstr(absl::StrCat(
                              kBatch * classes, " numbers as labels of 4 pictures, the model 3")));
    EXPECT_THAT(loop.Run(), refused);
    EXPECT_TRUE(loop.unsaved().empty());
    ReadAhead batches(source.Open({}, 0, 0));
    EXPECT_THAT(Validate(*state.model, batches, at::kFloat, at::kCPU), refused);
  }
}

// What validation says when its labels are no numbers in the first `epochs` epochs.
absl::StatusOr<LoopEnd> RunWithoutValidationLoss(int epochs, TrainingState& state) {
  const v1::Assignment task = Task();
  FakeFleet fleet;
  FakeRegistry registry;
  int validations = 0;
  EditedSource source([&](const v1::DataPlan& plan, v1::Batch& batch) {
    if (plan.subset() != v1::VALIDATION) return;
    if (batch.step() == 0) ++validations;
    if (validations <= epochs) batch.set_labels(0, std::numeric_limits<float>::quiet_NaN());
  });
  StopSignal stop;
  const StoppingClock clock(stop, 0);
  ProgressBoard board;
  CheckpointWriter writer(fleet, registry, task.lease(), "", stop);
  return TrainingLoop(task, {}, state, source, writer, board, stop, clock).Run();
}

// No weights would ever be the best, and the task would end without any.
TEST(TrainingLoop, AValidationLossThatIsNeverANumberIsTheCause) {
  ASSERT_OK_AND_ASSIGN(TrainingState state, TrainingState::Fresh(Task()));
  EXPECT_THAT(RunWithoutValidationLoss(kEpochs, state),
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                ::testing::HasSubstr("val_loss was no number in any epoch")));
}

TEST(TrainingLoop, AnEpochWithoutAValidationLossCostsNoOther) {
  ASSERT_OK_AND_ASSIGN(TrainingState state, TrainingState::Fresh(Task()));
  EXPECT_THAT(RunWithoutValidationLoss(1, state), testing::IsOkAndHolds(LoopEnd::kFinished));
  EXPECT_GE(state.callbacks.best_epoch(), 1);
}

// The coordinator receives no message above 4 MiB, and a task whose ledger is larger fails at every
// attempt.
TEST(TrainingLoop, ALedgerThatGrowsLargeIsSavedBeforeTheInterval) {
  v1::Assignment task = Task();
  task.mutable_stage()->set_epochs(1);
  FakeFleet fleet;
  FakeRegistry registry;
  ASSERT_OK_AND_ASSIGN(TrainingState state, TrainingState::Fresh(task));
  // 1.25 MB a step, 6.25 MB an epoch.
  EditedSource source([](const v1::DataPlan&, v1::Batch& batch) {
    batch.mutable_sample_ids()->Resize(250'000, 0xffffffffU);
  });
  StopSignal stop;
  const StoppingClock clock(stop, 0);
  ProgressBoard board;
  CheckpointWriter writer(fleet, registry, task.lease(), "", stop);
  LoopOptions options;
  options.checkpoint_interval = std::chrono::hours(1);
  TrainingLoop loop(task, options, state, source, writer, board, stop, clock);
  ASSERT_THAT(loop.Run(), testing::IsOkAndHolds(LoopEnd::kFinished));
  ASSERT_THAT(writer.Flush(), testing::IsOk());
  int steps = 0;
  for (const v1::CommitCheckpointRequest& commit : fleet.commits) {
    EXPECT_LT(commit.ByteSizeLong(), size_t{4} << 20);
    for (const v1::AppliedStep& step : commit.applied()) EXPECT_EQ(step.step(), steps++);
  }
  EXPECT_EQ(steps, kSteps);
}

class RegistryWithoutMemory final : public FakeRegistry {
 public:
  absl::StatusOr<std::string> PutBytes(std::string_view) override { throw std::bad_alloc(); }
};

TEST(CheckpointWriter, AnExceptionIsTheErrorOfTheJob) {
  const v1::Assignment task = Task();
  FakeFleet fleet;
  RegistryWithoutMemory registry;
  const StopSignal stop;
  ASSERT_OK_AND_ASSIGN(const TrainingState state, TrainingState::Fresh(task));
  CheckpointWriter writer(fleet, registry, task.lease(), "", stop);
  const auto job = [&] {
    CheckpointJob made;
    made.checkpoint = state.Snapshot(task, {});
    return made;
  };
  ASSERT_THAT(writer.Start(job()), testing::IsOk());
  const auto refused = testing::StatusIs(absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(writer.Flush(), refused);
  EXPECT_THAT(writer.Start(job()), refused);
  EXPECT_TRUE(fleet.commits.empty());
}

// P9: it heals when space returns, however many tries that takes.
TEST(CheckpointWriter, AFullDiskIsWaitedFor) {
  const v1::Assignment task = Task();
  FakeFleet fleet;
  FakeRegistry registry;
  const StopSignal stop;
  ASSERT_OK_AND_ASSIGN(const TrainingState state, TrainingState::Fresh(task));
  registry.disk.full_for = 7;
  fleet.disk.full_for = 7;
  CheckpointWriter writer(fleet, registry, task.lease(), "", stop, std::chrono::milliseconds(1));
  CheckpointJob job;
  job.checkpoint = state.Snapshot(task, {});
  job.is_best = true;
  ASSERT_THAT(writer.Start(std::move(job)), testing::IsOk());
  ASSERT_THAT(writer.Flush(), testing::IsOk());
  ASSERT_EQ(fleet.commits.size(), 1U);
  EXPECT_TRUE(registry.stored.contains(fleet.commits[0].digest()));
  EXPECT_TRUE(registry.stored.contains(writer.best_weights_digest()));
}

// After an exception nobody may be left to make the wait end.
TEST(CheckpointWriter, AFullDiskDoesNotHoldTheDestructor) {
  const v1::Assignment task = Task();
  FakeFleet fleet;
  FakeRegistry registry;
  const StopSignal stop;
  ASSERT_OK_AND_ASSIGN(const TrainingState state, TrainingState::Fresh(task));
  registry.disk.full_for = std::numeric_limits<int>::max();
  {
    CheckpointWriter writer(fleet, registry, task.lease(), "", stop, std::chrono::hours(1));
    CheckpointJob job;
    job.checkpoint = state.Snapshot(task, {});
    ASSERT_THAT(writer.Start(std::move(job)), testing::IsOk());
  }
  EXPECT_TRUE(fleet.commits.empty());
}

TEST(PredictAll, LabelsOfAnotherNumberOfClassesAreDataLoss) {
  const v1::Assignment task = Task();
  ASSERT_OK_AND_ASSIGN(const TrainingState state, TrainingState::Fresh(task));
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : state.model->NamedTensors()) tensors[name] = tensor.detach();
  ASSERT_OK_AND_ASSIGN(
      const auto predictor,
      nn::Predictor::Create(task.model(), nn::SaveTensorsToSafetensors(tensors), {}));
  for (const int classes : {0, kClasses - 1, kClasses, kClasses + 1}) {
    SCOPED_TRACE(classes);
    ReadAhead batches(ScriptedSource(classes).Open({}, 0, 0));
    const auto predictions = PredictAll(*predictor, batches);
    if (classes != 0 && classes != kClasses) {
      EXPECT_THAT(predictions, testing::StatusIs(absl::StatusCode::kDataLoss));
      continue;
    }
    ASSERT_THAT(predictions, testing::IsOk());
    EXPECT_EQ(predictions->probabilities.rows, kSteps * kBatch);
    EXPECT_EQ(predictions->labels.size(), classes == 0 ? 0U : size_t{kSteps} * kBatch);
  }
}

}  // namespace
}  // namespace atelier::trainer
