// Trainers that come back, and the coordinator too.
#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RunExecutorFleetTest : public ExecutorTest {
 protected:
  // Tells that `epoch` ended, as the news of this number; returns what the answer says is stored.
  int64_t Tell(const v1::Lease& lease, int64_t news, int epoch) {
    v1::TaskProgress progress;
    *progress.mutable_lease() = lease;
    progress.set_sequence(++sequence_);
    progress.set_news(news);
    progress.add_finished_epochs()->set_epoch(epoch);
    progress.add_log_lines("the end of epoch " + std::to_string(epoch));
    inboxes_["t1"].clear();
    executor_->OnProgress("t1", progress);
    if (inboxes_["t1"].empty() || !inboxes_["t1"].back().has_renewed()) {
      ADD_FAILURE() << "the lease was not renewed";
      return -1;
    }
    const v1::LeaseRenewed& renewed = inboxes_["t1"].back().renewed();
    EXPECT_EQ(renewed.sequence(), sequence_);
    return renewed.news_stored();
  }
  std::vector<int> EpochsTold() {
    std::vector<int> epochs;
    const RunExecutor::News news = *executor_->NewsAfter(run_id_, 0, 0);
    for (const v1::RunEvent& event : news.events) {
      EXPECT_EQ(event.task().finished_epochs_size(), event.task().log_lines_size());
      for (const v1::EpochMetrics& epoch : event.task().finished_epochs()) {
        epochs.push_back(epoch.epoch());
      }
    }
    return epochs;
  }

  int64_t sequence_ = 0;
};

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

// P8 and P9: what is not durable is not acknowledged, but a full disk costs no lease.
TEST_F(RunExecutorFleetTest, NewsThatCannotBeStoredRenewTheLeaseButAreNotAcknowledged) {
  const v1::Lease lease = SubmitAndGrant();
  store_->full = true;
  for (int i = 0; i < 3; ++i) {
    Pass(kTtl - std::chrono::milliseconds(1), {"t1"});
    EXPECT_EQ(Tell(lease, 1, 0), 0);
  }
  store_->full = false;
  EXPECT_EQ(GetTask().state(), v1::TASK_RUNNING);
  EXPECT_EQ(GetTask().attempts_size(), 1);
  EXPECT_THAT(EpochsTold(), IsEmpty());
  EXPECT_EQ(Tell(lease, 1, 0), 1);
  EXPECT_THAT(EpochsTold(), ElementsAre(0));
}

TEST_F(RunExecutorFleetTest, NewsToldAgainAreStoredOnce) {
  const v1::Lease lease = SubmitAndGrant();
  EXPECT_EQ(Tell(lease, 1, 0), 1);
  EXPECT_EQ(Tell(lease, 1, 0), 1);
  EXPECT_EQ(Tell(lease, 2, 1), 2);
  // Stored just before the coordinator died: the answer never arrived.
  Restart();
  RegisterData();
  Connect("t1", &lease);
  EXPECT_EQ(Tell(lease, 2, 1), 2);
  EXPECT_EQ(Tell(lease, 3, 2), 3);
  EXPECT_THAT(EpochsTold(), ElementsAre(0, 1, 2));
}

TEST_F(RunExecutorFleetTest, EachLeaseNumbersItsNewsFromOne) {
  const v1::Lease lease = SubmitAndGrant();
  EXPECT_EQ(Tell(lease, 1, 0), 1);
  Connect("t1");  // a new process under the old name
  executor_->Tick();
  const auto next = Assigned("t1");
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(Tell(next->lease(), 1, 0), 1);
  EXPECT_THAT(EpochsTold(), ElementsAre(0, 0));
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
