// Trainers that come back, and the coordinator too.
#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;

using RunExecutorFleetTest = ExecutorTest;

TEST_F(RunExecutorFleetTest, AfterARestartTheSameTrainerGoesOnAsTheSameAttempt) {
  const v1::Lease lease = SubmitAndGrant();
  Commit(lease, 0, 10);
  Restart();
  RegisterData();
  executor_->Tick();
  Connect("t1", &lease);
  executor_->Tick();
  EXPECT_FALSE(WasCancelled("t1", lease));
  EXPECT_FALSE(Assigned("t1").has_value());
  EXPECT_EQ(GetTask().attempts_size(), 1);
  Commit(lease, 10, 20);
  ASSERT_THAT(executor_->FinishTask(MakeDone(lease, 0.5)), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
  EXPECT_EQ(GetTask().attempts_size(), 1);
}

TEST_F(RunExecutorFleetTest, AfterARestartAnOrphanedLeaseExpires) {
  SubmitAndGrant();
  Restart();
  RegisterData();
  Connect("t2");
  Pass(kTtl - std::chrono::milliseconds(1), {"t2"});
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
  Pass(std::chrono::milliseconds(1), {"t2"});
  EXPECT_TRUE(Assigned("t2").has_value());
  EXPECT_EQ(GetTask().attempts(0).end_kind(), v1::ATTEMPT_LOST);
}

TEST_F(RunExecutorFleetTest, ATrainerThatReturnsWithoutItsTaskHasLostItAtOnce) {
  SubmitAndGrant();
  Connect("t1");
  EXPECT_EQ(GetTask().state(), v1::TASK_WAITING);
  EXPECT_EQ(GetTask().attempts(0).end_kind(), v1::ATTEMPT_LOST);
  executor_->Tick();
  const auto assignment = Assigned("t1");
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->lease().epoch(), 2);
}

TEST_F(RunExecutorFleetTest, ATrainerThatReturnsWithALeaseItLostIsToldToStop) {
  const v1::Lease lease = SubmitAndGrant();
  Connect("t2");
  Pass(kTtl, {"t2"});
  Connect("t1", &lease);
  EXPECT_TRUE(WasCancelled("t1", lease));
  EXPECT_EQ(GetTask().attempts(1).trainer(), "t2");
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
}

TEST_F(RunExecutorFleetTest, TheEndOfAnOldStreamDoesNotDisconnectTheNewOne) {
  const v1::Lease lease = SubmitAndGrant();
  const int64_t old_session = sessions_["t1"];
  Connect("t1", &lease);
  executor_->Disconnect("t1", old_session);
  EXPECT_EQ(executor_->ListFleet().trainers_size(), 1);
  executor_->Disconnect("t1", sessions_["t1"]);
  EXPECT_EQ(executor_->ListFleet().trainers_size(), 0);
}

TEST_F(RunExecutorFleetTest, ADrainingTrainerGivesItsTaskBackAndGetsNoOther) {
  const v1::Lease lease = SubmitAndGrant();
  executor_->OnDraining("t1");
  ASSERT_THAT(executor_->FinishTask(MakeFinish(lease, v1::FinishTaskRequest::RELEASED)), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetTask().state(), v1::TASK_WAITING);
  EXPECT_EQ(GetTask().attempts(0).end_kind(), v1::ATTEMPT_CANCELLED);
  EXPECT_FALSE(Assigned("t1").has_value());
}
}  // namespace
}  // namespace atelier::coordinator
