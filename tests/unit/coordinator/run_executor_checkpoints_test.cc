// Which checkpoints are taken, kept, refused and gone on from.
#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class RunExecutorCheckpointsTest : public ExecutorTest {
 protected:
  // Commits the steps of epoch 0 from `first` to before `step`, with the best weights so far.
  std::string CommitWithBest(const v1::Lease& lease, int first, int step, const std::string& best) {
    v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, step);
    for (int i = first; i < step; ++i) request.add_applied()->set_step(i);
    request.set_best_weights_digest(Put(best));
    EXPECT_THAT(executor_->CommitCheckpoint(request), IsOk());
    return request.digest();
  }
};

TEST_F(RunExecutorCheckpointsTest, TheNewestTwoCheckpointsAreKept) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string first = Commit(lease, 0, 1);
  const std::string second = Commit(lease, 1, 2);
  EXPECT_TRUE(IsStored(first));
  const std::string third = Commit(lease, 2, 3);
  EXPECT_FALSE(IsStored(first));
  EXPECT_TRUE(IsStored(second));
  EXPECT_TRUE(IsStored(third));
}

TEST_F(RunExecutorCheckpointsTest, AnArtifactThatSomethingElseNeedsOutlivesItsCheckpoint) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->set_initial_weights_digest(Put("initial"));
  const v1::Lease lease = SubmitAndGrant(plan);
  v1::CommitCheckpointRequest first = MakeCheckpoint(lease, 0, 1, "initial");
  first.set_best_weights_digest(Put("best"));
  v1::CommitCheckpointRequest second = MakeCheckpoint(lease, 0, 2);
  second.set_best_weights_digest(Put("best"));
  v1::CommitCheckpointRequest third = MakeCheckpoint(lease, 0, 3);
  third.set_best_weights_digest(Put("better"));
  v1::CommitCheckpointRequest fourth = MakeCheckpoint(lease, 0, 4);
  fourth.set_best_weights_digest(Put("better"));
  for (const auto* request : {&first, &second, &third}) {
    ASSERT_THAT(executor_->CommitCheckpoint(*request), IsOk());
  }
  EXPECT_TRUE(IsStored(Sha256Hex("initial")));  // the run starts from it
  EXPECT_TRUE(IsStored(Sha256Hex("best")));     // checkpoint 2 has it
  ASSERT_THAT(executor_->CommitCheckpoint(fourth), IsOk());
  EXPECT_FALSE(IsStored(Sha256Hex("best")));
  EXPECT_TRUE(IsStored(Sha256Hex("better")));
}

TEST_F(RunExecutorCheckpointsTest, ACheckpointWithoutOrBehindIsRefused) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  EXPECT_THAT(executor_->CommitCheckpoint(MakeCheckpoint(lease, 0, 9)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("behind")));
  v1::CommitCheckpointRequest nothing = MakeCheckpoint(lease, 0, 11);
  nothing.clear_digest();
  EXPECT_THAT(executor_->CommitCheckpoint(nothing),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("digest")));
}

TEST_F(RunExecutorCheckpointsTest, AStepAppliedTwiceIsRefused) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, 12);
  request.add_applied()->set_step(9);
  EXPECT_THAT(executor_->CommitCheckpoint(request),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(GetTask().checkpoint_cursor().step(), 10);
}

TEST_F(RunExecutorCheckpointsTest, TheEnvironmentOfTheFirstCheckpointStays) {
  const v1::Lease lease = SubmitAndGrant();
  v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, 1);
  request.mutable_environment()->set_threads(2);
  ASSERT_THAT(executor_->CommitCheckpoint(request), IsOk());
  request = MakeCheckpoint(lease, 0, 2);
  request.mutable_environment()->set_threads(8);
  ASSERT_THAT(executor_->CommitCheckpoint(request), IsOk());
  EXPECT_EQ(GetTask().environment().threads(), 2);
}

TEST_F(RunExecutorCheckpointsTest, ADamagedCheckpointFallsBackToTheOneBefore) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string good = Commit(lease, 0, 10);
  const std::string bad = Commit(lease, 10, 20);
  Connect("t2");
  Pass(kTtl, {"t2"});
  const v1::Assignment assignment = Assigned("t2").value();
  ASSERT_EQ(assignment.checkpoint_digest(), bad);
  ASSERT_THAT(artifacts_->Delete(bad), IsOk());
  ASSERT_THAT(executor_->FinishTask(MakeFailure(assignment.lease(), "DATA_LOSS: damaged", false)),
              IsOk());
  Pass(std::chrono::seconds(2), {"t2"});
  const auto next = Assigned("t2");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->checkpoint_digest(), good);
  EXPECT_EQ(GetTask().attempts(2).start().step(), 10);
  // The steps whose effect was lost are applied again, the others are not.
  EXPECT_FALSE(Commit(next->lease(), 10, 15).empty());
  v1::CommitCheckpointRequest twice = MakeCheckpoint(next->lease(), 0, 20);
  twice.add_applied()->set_step(9);
  EXPECT_THAT(executor_->CommitCheckpoint(twice), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunExecutorCheckpointsTest, ACheckpointThatCannotBeOpenedNowIsNoDamagedOne) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  const std::string last = Commit(lease, 10, 20);
  Connect("t2");
  Pass(kTtl, {"t2"});
  artifacts_->FailOpens(absl::ResourceExhaustedError("too many open files"));
  ASSERT_THAT(executor_->FinishTask(
                  MakeFailure(Assigned("t2").value().lease(), "too many open files", true)),
              IsOk());
  artifacts_->FailOpens(absl::OkStatus());
  Pass(std::chrono::seconds(2), {"t2"});
  const auto next = Assigned("t2");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->checkpoint_digest(), last);
}

// A drain right after a save; the other attempt is drained before its first step.
TEST_F(RunExecutorCheckpointsTest, TheSameCheckpointAgainTakesNoOldersPlace) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string first = Commit(lease, 0, 10);
  v1::CommitCheckpointRequest second = MakeCheckpoint(lease, 0, 20, "c2");
  second.add_applied()->set_step(10);
  ASSERT_THAT(executor_->CommitCheckpoint(second), IsOk());
  v1::CommitCheckpointRequest again = MakeCheckpoint(lease, 0, 20, "c2");
  again.add_applied()->set_step(11);
  ASSERT_THAT(executor_->CommitCheckpoint(again), IsOk());
  Connect("t2");
  Pass(kTtl, {"t2"});
  const v1::Lease later = Assigned("t2").value().lease();
  ASSERT_THAT(executor_->CommitCheckpoint(MakeCheckpoint(later, 0, 20, "c2")), IsOk());
  EXPECT_TRUE(IsStored(first));
  // The ledger of such a commit counts.
  v1::CommitCheckpointRequest twice = MakeCheckpoint(later, 0, 21);
  twice.add_applied()->set_step(11);
  EXPECT_THAT(executor_->CommitCheckpoint(twice), StatusIs(absl::StatusCode::kFailedPrecondition));

  ASSERT_THAT(artifacts_->Delete(second.digest()), IsOk());
  ASSERT_THAT(executor_->FinishTask(MakeFailure(later, "DATA_LOSS: damaged", false)), IsOk());
  Pass(std::chrono::seconds(2), {"t2"});
  const auto next = Assigned("t2");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->checkpoint_digest(), first);
}

// The attempt got on, to its end, and failed for good where it scores them.
TEST_F(RunExecutorCheckpointsTest, DamagedBestWeightsFallBackToTheCheckpointBefore) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string good = CommitWithBest(lease, 0, 10, "w1");
  CommitWithBest(lease, 10, 20, "w2");
  ASSERT_THAT(artifacts_->Delete(Sha256Hex("w2")), IsOk());
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "DATA_LOSS: damaged", false)), IsOk());
  Pass(std::chrono::seconds(2), {"t1"});
  const auto next = Assigned("t1");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->checkpoint_digest(), good);
  CommitWithBest(next->lease(), 10, 20, "w2");
}

TEST_F(RunExecutorCheckpointsTest, AnAttemptThatFailsWithoutAPositionEndsAtItsCheckpoint) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 20);
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "bad_alloc", true)), IsOk());
  EXPECT_EQ(GetTask().attempts(0).end().step(), 20);
  Pass(std::chrono::seconds(2), {"t1"});
  const v1::Assignment next = Assigned("t1").value();
  v1::FinishTaskRequest further = MakeFailure(next.lease(), "bad_alloc", true);
  *further.mutable_cursor() = MakeCursor(0, 25);
  ASSERT_THAT(executor_->FinishTask(further), IsOk());
  EXPECT_EQ(GetTask().attempts(1).end().step(), 25);
}

TEST_F(RunExecutorCheckpointsTest, AFailureForGoodIsOneWhenNothingIsDamaged) {
  const v1::Lease lease = SubmitAndGrant();
  CommitWithBest(lease, 0, 10, "w1");
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "the loss is no number", false)), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetTask().state(), v1::TASK_FAILED);
}

TEST_F(RunExecutorCheckpointsTest, AStageWhoseWeightsAreDamagedIsTrainedAgainFromItsCheckpoint) {
  const v1::Lease lease = SubmitAndGrant(MakePlan({"a"}, {"train", "retrain"}));
  const std::string good = CommitWithBest(lease, 0, 10, "w1");
  CommitWithBest(lease, 10, 20, "weights a/train");
  const v1::FinishTaskRequest done = MakeDone(lease, 0.5);
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  Pass(std::chrono::seconds(2), {"t1"});
  const v1::Assignment second = Assigned("t1").value();
  ASSERT_EQ(second.initial_weights_digest(), done.result().weights_digest());
  ASSERT_THAT(artifacts_->Delete(done.result().weights_digest()), IsOk());
  ASSERT_THAT(executor_->FinishTask(MakeFailure(second.lease(), "DATA_LOSS: damaged", false)),
              IsOk());
  Pass(std::chrono::seconds(2), {"t1"});
  const v1::Assignment again = Assigned("t1").value();
  EXPECT_EQ(again.lease().stage(), "train");
  EXPECT_EQ(again.checkpoint_digest(), good);
  CommitWithBest(again.lease(), 10, 20, "weights a/train");
  ASSERT_THAT(executor_->FinishTask(MakeDone(again.lease(), 0.5)), IsOk());
  FinishAll([&](const v1::Lease& waiting) { return MakeDone(waiting, 0.5); });
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

TEST_F(RunExecutorCheckpointsTest, AStageIsNotTrainedAgainForATaskWithoutAnAttemptLeft) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "retrain"});
  plan.set_max_attempts(1);
  const v1::FinishTaskRequest done = MakeDone(SubmitAndGrant(plan), 0.5);
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  Pass(std::chrono::seconds(2), {"t1"});
  ASSERT_THAT(artifacts_->Delete(done.result().weights_digest()), IsOk());
  ASSERT_THAT(executor_->FinishTask(MakeFailure(Assigned("t1").value().lease(), "gone", true)),
              IsOk());
  Pass(std::chrono::seconds(2), {"t1"});
  EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
  EXPECT_EQ(GetTask(0).state(), v1::TASK_DONE);
}

TEST_F(RunExecutorCheckpointsTest, WithNoCheckpointLeftTheTaskStartsAtItsBeginning) {
  const v1::Lease lease = SubmitAndGrant();
  ASSERT_THAT(artifacts_->Delete(Commit(lease, 0, 10)), IsOk());
  Connect("t2");
  Pass(kTtl, {"t2"});
  ASSERT_THAT(executor_->FinishTask(MakeFailure(Assigned("t2").value().lease(), "gone", false)),
              IsOk());
  Pass(std::chrono::seconds(2), {"t2"});
  const auto next = Assigned("t2");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->checkpoint_digest(), "");
  EXPECT_EQ(GetTask().attempts(2).start().step(), 0);
}

}  // namespace
}  // namespace atelier::coordinator
