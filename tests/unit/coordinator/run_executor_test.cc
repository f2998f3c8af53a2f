// Assignments, leases, ends of tasks and runs.
#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

using RunExecutorTest = ExecutorTest;

TEST_F(RunExecutorTest, TheFirstAssignmentSaysEverythingATrainerNeeds) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->set_initial_weights_digest(Put("ImageNet"));
  Connect("t1");
  Submit(plan);
  executor_->Tick();
  const auto assignment = Assigned("t1");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->lease().epoch(), 1);
  EXPECT_EQ(assignment->lease().member(), "a");
  EXPECT_THAT(assignment->data_addresses(), ::testing::ElementsAre("data:7071"));
  EXPECT_EQ(assignment->initial_weights_digest(), Sha256Hex("ImageNet"));
  EXPECT_FALSE(assignment->initial_weights_have_head());
  EXPECT_EQ(assignment->checkpoint_digest(), "");
  EXPECT_EQ(assignment->model().classes(), 2);
}

TEST_F(RunExecutorTest, ALaterStageStartsFromTheBestWeightsOfTheOneBefore) {
  const v1::Lease lease = SubmitAndGrant(MakePlan({"a"}, {"train", "retrain"}));
  ASSERT_THAT(executor_->FinishTask(MakeDone(lease, 0.5)), IsOk());
  executor_->Tick();
  const auto assignment = Assigned("t1");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->lease().stage(), "retrain");
  EXPECT_EQ(assignment->initial_weights_digest(), Sha256Hex("weights a/train"));
  EXPECT_TRUE(assignment->initial_weights_have_head());
}

TEST_F(RunExecutorTest, InitialWeightsThatAreNotStoredRefuseTheRun) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->set_initial_weights_digest(std::string(64, 'a'));
  EXPECT_THAT(executor_->Submit(NewId(), plan, *CompletePlan(plan), MakeSummary()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("upload it first")));
  EXPECT_EQ(executor_->List()->runs_size(), 0);
}

TEST_F(RunExecutorTest, AnExpiredLeasePutsTheTaskBackAndTheNextAttemptStartsAtTheCheckpoint) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  const std::string digest = Commit(lease, 10, 20);
  Progress("t1", lease, 0, 25);
  Connect("t2");
  Pass(kTtl - std::chrono::milliseconds(1), {"t2"});
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
  Pass(std::chrono::milliseconds(1), {"t2"});

  const auto assignment = Assigned("t2");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->lease().epoch(), lease.epoch() + 1);
  EXPECT_EQ(assignment->checkpoint_digest(), digest);
  const v1::Task task = GetTask();
  ASSERT_EQ(task.attempts_size(), 2);
  EXPECT_EQ(task.attempts(0).end_kind(), v1::ATTEMPT_LOST);
  EXPECT_EQ(task.attempts(0).end().step(), 25);
  EXPECT_EQ(task.attempts(1).trainer(), "t2");
  EXPECT_EQ(task.attempts(1).start().step(), 20);
}

TEST_F(RunExecutorTest, ATrainerThatHasGoneSilentIsNotGivenTheTaskItLost) {
  SubmitAndGrant();
  Pass(kTtl);
  EXPECT_EQ(GetTask().state(), v1::TASK_WAITING);
  EXPECT_EQ(GetTask().attempts_size(), 1);
  EXPECT_FALSE(Assigned("t1").has_value());
  executor_->OnHeard("t1");  // it was only stopped for a while
  executor_->Tick();
  EXPECT_TRUE(Assigned("t1").has_value());
}

TEST_F(RunExecutorTest, ProgressRenewsTheLeaseAndSaysWhichMessageDid) {
  const v1::Lease lease = SubmitAndGrant();
  for (int i = 0; i < 5; ++i) {
    Pass(kTtl - std::chrono::milliseconds(1));
    Progress("t1", lease, 0, i);
  }
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
  EXPECT_EQ(GetTask().attempts_size(), 1);
  EXPECT_EQ(GetTask().attempts(0).end().step(), 4);
  ASSERT_FALSE(inboxes_["t1"].empty());
  EXPECT_TRUE(inboxes_["t1"].back().has_renewed());
}

TEST_F(RunExecutorTest, AStaleLeaseChangesNothing) {
  const v1::Lease stale = SubmitAndGrant();
  Commit(stale, 0, 10);
  Connect("t2");
  Pass(kTtl, {"t2"});
  const v1::Lease current = Assigned("t2").value().lease();
  const std::string before = State();

  v1::CommitCheckpointRequest commit = MakeCheckpoint(stale, 0, 99);
  commit.add_applied()->set_step(50);
  EXPECT_THAT(executor_->CommitCheckpoint(commit), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(executor_->FinishTask(MakeDone(stale, 0.1)), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(executor_->FinishTask(MakeFailure(stale, "x", false)),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(State(), before);
  // Not in the ledger either, and the current lease is as good as before.
  v1::CommitCheckpointRequest good = MakeCheckpoint(current, 0, 60);
  good.add_applied()->set_step(50);
  EXPECT_THAT(executor_->CommitCheckpoint(good), IsOk());
  // Its progress is answered with a stop.
  Progress("t1", stale);
  EXPECT_TRUE(WasCancelled("t1", stale));
}

TEST_F(RunExecutorTest, ALeaseOfTheFutureIsStaleToo) {
  v1::Lease lease = SubmitAndGrant();
  lease.set_epoch(lease.epoch() + 1);
  EXPECT_THAT(executor_->CommitCheckpoint(MakeCheckpoint(lease, 0, 1)),
              StatusIs(absl::StatusCode::kAborted));
}

TEST_F(RunExecutorTest, ARequestSentAgainIsAnsweredAgainAndDoneOnce) {
  const v1::Lease lease = SubmitAndGrant();
  v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, 5);
  request.add_applied()->set_step(4);
  ASSERT_THAT(executor_->CommitCheckpoint(request), IsOk());
  const std::string before = State();
  EXPECT_THAT(executor_->CommitCheckpoint(request), IsOk());  // the step is not "applied before"
  EXPECT_EQ(State(), before);
  request.mutable_cursor()->set_step(6);
  EXPECT_THAT(executor_->CommitCheckpoint(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another payload")));
  EXPECT_EQ(State(), before);
}

TEST_F(RunExecutorTest, ARefusedRequestMaySucceedUnderTheSameId) {
  const v1::Lease lease = SubmitAndGrant();
  v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, 5);
  request.set_digest(Sha256Hex("not uploaded yet"));
  EXPECT_THAT(executor_->CommitCheckpoint(request),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  Put("not uploaded yet");
  EXPECT_THAT(executor_->CommitCheckpoint(request), IsOk());
}

TEST_F(RunExecutorTest, SubmittingAgainGivesTheSameRun) {
  const v1::RunPlan asked = MakePlan({"a"}, {"train"});
  const v1::RunPlan plan = *BindDataset(*CompletePlan(asked), MakeSummary());
  ASSERT_OK_AND_ASSIGN(const std::string first,
                       executor_->Submit("same", asked, plan, MakeSummary()));
  EXPECT_THAT(executor_->Submit("same", asked, plan, MakeSummary()),
              atelier::testing::IsOkAndHolds(first));
  EXPECT_THAT(executor_->FindSubmitted("same", asked), atelier::testing::IsOkAndHolds(first));
  EXPECT_EQ(executor_->List()->runs_size(), 1);
  EXPECT_THAT(executor_->FindSubmitted("same", MakePlan({"b"}, {"train"})),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(executor_->FindSubmitted("other", asked), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(executor_->FindSubmitted("", asked), StatusIs(absl::StatusCode::kInvalidArgument));
}

// All runs are one message: what grows with the files of a dataset is not in it.
TEST_F(RunExecutorTest, AListIsShort) {
  const v1::RunPlan asked = MakePlan({"a"}, {"train"});
  v1::DatasetSummary dataset = MakeSummary();
  dataset.add_quarantined()->set_file("jay/bad.png");
  dataset.add_duplicates()->set_file("jay/copy.png");
  const v1::RunPlan plan = *BindDataset(*CompletePlan(asked), dataset);
  ASSERT_OK_AND_ASSIGN(run_id_, executor_->Submit(NewId(), asked, plan, dataset));
  ASSERT_OK_AND_ASSIGN(const v1::ListRunsResponse listed, executor_->List());
  ASSERT_EQ(listed.runs_size(), 1);
  EXPECT_EQ(listed.runs(0).dataset().quarantined_size(), 0);
  EXPECT_EQ(listed.runs(0).dataset().duplicates_size(), 0);
  EXPECT_EQ(listed.runs(0).dataset().digest(), dataset.digest());
  EXPECT_EQ(GetRun().dataset().quarantined_size(), 1);
  EXPECT_EQ(GetRun().dataset().duplicates_size(), 1);
}

TEST_F(RunExecutorTest, AFinishSentAgainAfterSuccessIsOk) {
  const v1::Lease lease = SubmitAndGrant();
  const v1::FinishTaskRequest request = MakeDone(lease, 0.5);
  ASSERT_THAT(executor_->FinishTask(request), IsOk());
  EXPECT_THAT(executor_->FinishTask(request), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
  EXPECT_THAT(executor_->FinishTask(request), IsOk());
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

TEST_F(RunExecutorTest, APoisonTaskFailsTheRunWithItsCauseAfterBoundedAttempts) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.set_max_attempts(3);
  v1::Lease lease = SubmitAndGrant(plan);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "out of memory", true)), IsOk());
    Pass(std::chrono::minutes(2), {"t1"});
    const auto next = Assigned("t1");
    ASSERT_EQ(next.has_value(), attempt < 3);
    if (next.has_value()) lease = next->lease();
  }
  const v1::Run run = GetRun();
  EXPECT_EQ(run.state(), v1::RUN_FAILED);
  EXPECT_THAT(run.error(), HasSubstr("a (train): out of memory"));
  EXPECT_EQ(run.tasks(0).state(), v1::TASK_FAILED);
  EXPECT_EQ(run.tasks(0).attempts_size(), 3);
}

TEST_F(RunExecutorTest, BackoffHoldsTheNextAttemptBack) {
  v1::Lease lease = SubmitAndGrant();
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "x", true)), IsOk());
  executor_->Tick();
  lease = Assigned("t1").value().lease();  // at once after the first
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "x", true)), IsOk());
  EXPECT_EQ(executor_->Tick() - clock_.Now(), std::chrono::seconds(1));
  EXPECT_FALSE(Assigned("t1").has_value());
  Pass(std::chrono::seconds(1), {"t1"});
  EXPECT_TRUE(Assigned("t1").has_value());
}

TEST_F(RunExecutorTest, AnErrorThatTryingAgainCannotHelpFailsAtOnceAlsoAfterACheckpoint) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "wrong shape", false)), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
  EXPECT_FALSE(Assigned("t1").has_value());
}

TEST_F(RunExecutorTest, AResumedTaskGoesOnAtItsCheckpointWithAllItsAttempts) {
  v1::Lease lease = SubmitAndGrant();
  const std::string digest = Commit(lease, 0, 10);
  ASSERT_THAT(executor_->FinishTask(MakeFailure(lease, "wrong shape", false)), IsOk());
  executor_->Tick();
  ASSERT_EQ(GetRun().state(), v1::RUN_FAILED);

  ASSERT_OK_AND_ASSIGN(const v1::Run resumed, executor_->Resume(run_id_));
  EXPECT_EQ(resumed.state(), v1::RUN_RUNNING);
  EXPECT_EQ(resumed.error(), "");
  // How the attempts ended stays on record.
  EXPECT_EQ(resumed.tasks(0).attempts(0).end_kind(), v1::ATTEMPT_FAILED);
  executor_->Tick();
  auto assignment = Assigned("t1");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->checkpoint_digest(), digest);
  // Lost for another reason: the old final error is not its cause.
  Connect("t1");
  executor_->Tick();
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
  EXPECT_TRUE(Assigned("t1").has_value());
  // Twice is once.
  EXPECT_THAT(executor_->Resume(run_id_), IsOk());
}

TEST_F(RunExecutorTest, CancelStopsTrainersAndResumeGoesOn) {
  const v1::Lease lease = SubmitAndGrant(MakePlan({"a", "b"}, {"train"}));
  const std::string digest = Commit(lease, 0, 10);
  ASSERT_OK_AND_ASSIGN(const v1::Run cancelled, executor_->Cancel(run_id_, "no time"));
  EXPECT_EQ(cancelled.state(), v1::RUN_CANCELLED);
  EXPECT_EQ(cancelled.error(), "no time");
  for (const v1::Task& task : cancelled.tasks()) EXPECT_EQ(task.state(), v1::TASK_CANCELLED);
  const v1::Attempt& attempt = cancelled.tasks(0).attempts(0);
  EXPECT_EQ(attempt.end_kind(), v1::ATTEMPT_CANCELLED);
  EXPECT_EQ(attempt.end().step(), 10) << "as far as its checkpoint";
  EXPECT_TRUE(WasCancelled("t1", lease));
  EXPECT_THAT(executor_->FinishTask(MakeDone(lease, 0.1)), StatusIs(absl::StatusCode::kAborted));
  EXPECT_TRUE(IsStored(digest));
  EXPECT_THAT(executor_->Cancel(run_id_, "again"), IsOk());
  EXPECT_EQ(GetRun().error(), "no time");
  Pass(kTtl * 3, {"t1"});
  EXPECT_FALSE(Assigned("t1").has_value());

  ASSERT_THAT(executor_->Resume(run_id_), IsOk());
  executor_->Tick();
  const auto assignment = Assigned("t1");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->checkpoint_digest(), digest);
  EXPECT_EQ(assignment->lease().epoch(), lease.epoch() + 1);
}

TEST_F(RunExecutorTest, ARunThatEndedCannotBeCancelled) {
  ASSERT_THAT(executor_->FinishTask(MakeDone(SubmitAndGrant(), 0.5)), IsOk());
  executor_->Tick();
  EXPECT_THAT(executor_->Cancel(run_id_, "late"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(executor_->Cancel("nobody", ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RunExecutorTest, DoneWithoutWeightsOrWithWeightsThatAreNotStoredIsRefused) {
  const v1::Lease lease = SubmitAndGrant();
  v1::FinishTaskRequest request = MakeDone(lease, 0.5);
  request.mutable_result()->clear_weights_digest();
  EXPECT_THAT(executor_->FinishTask(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("weights_digest")));
  request.mutable_result()->set_weights_digest(Sha256Hex("never uploaded"));
  EXPECT_THAT(executor_->FinishTask(request), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
}

TEST_F(RunExecutorTest, NewsAreNumberedAndEndWithTheRun) {
  const v1::Lease lease = SubmitAndGrant();
  Progress("t1", lease, 0, 3);
  ASSERT_OK_AND_ASSIGN(RunExecutor::News news, executor_->NewsAfter(run_id_, 0, 0));
  ASSERT_EQ(news.events.size(), 2U);  // submitted, attempt 1
  EXPECT_EQ(news.events[0].number(), 1);
  EXPECT_EQ(news.events[1].number(), 2);
  ASSERT_EQ(news.progress.size(), 1U);
  EXPECT_FALSE(news.ended);
  ASSERT_OK_AND_ASSIGN(news, executor_->NewsAfter(run_id_, 2, news.progress_seen));
  EXPECT_TRUE(news.events.empty());
  EXPECT_TRUE(news.progress.empty());
  ASSERT_THAT(executor_->FinishTask(MakeDone(lease, 0.5)), IsOk());
  executor_->Tick();
  ASSERT_OK_AND_ASSIGN(news, executor_->NewsAfter(run_id_, 2, 0));
  ASSERT_EQ(news.events.size(), 2U);  // done, published
  EXPECT_EQ(news.events[1].run().state(), v1::RUN_DONE);
  EXPECT_TRUE(news.ended);
}

TEST_F(RunExecutorTest, AFullDiskChangesNothingAndHealsWithoutSpinning) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string before = State();
  Connect("t2");
  store_->full = true;
  const v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, 5);
  EXPECT_THAT(executor_->CommitCheckpoint(request), StatusIs(absl::StatusCode::kResourceExhausted));
  clock_.Advance(kTtl);
  executor_->OnHeard("t2");
  // The lease stays expired; the ticker must neither wait for ever nor call again at once.
  EXPECT_EQ(executor_->Tick() - clock_.Now(), std::chrono::seconds(1));
  store_->full = false;
  EXPECT_EQ(State(), before);
  EXPECT_EQ(executor_->GetCounts().leases_expired, 0);
  executor_->Tick();
  EXPECT_TRUE(Assigned("t2").has_value());
  EXPECT_EQ(executor_->GetCounts().leases_expired, 1);
}

TEST_F(RunExecutorTest, ADataServiceThatLeavesIsNotHandedOut) {
  v1::RegisterDataServiceRequest request;
  request.set_id("data");
  request.set_leaving(true);
  executor_->RegisterDataService(request);
  Connect("t1");
  Submit(MakePlan({"a"}, {"train"}));
  executor_->Tick();
  EXPECT_FALSE(Assigned("t1").has_value());
  RegisterData();
  executor_->Tick();
  EXPECT_TRUE(Assigned("t1").has_value());
}

}  // namespace
}  // namespace atelier::coordinator
