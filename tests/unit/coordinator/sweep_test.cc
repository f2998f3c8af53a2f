#include "services/coordinator/sweep.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class SweepTest : public ExecutorTest {
 protected:
  std::set<std::string> Stored() {
    std::set<std::string> digests;
    const std::vector<artifacts::StoredArtifact> stored = artifacts_->List().value();
    for (const artifacts::StoredArtifact& artifact : stored) {
      digests.insert(artifact.digest);
    }
    return digests;
  }
  // As a coordinator does that starts `later` than now.
  Swept Start(std::chrono::hours later) {
    auto swept = SweepArtifacts(*store_, *artifacts_, std::chrono::system_clock::now() + later);
    EXPECT_THAT(swept, IsOk());
    return swept.value_or(Swept());
  }
  // One start that finds what is stored now, and another one `later` than that.
  Swept SweepAfter(std::chrono::hours later) {
    constexpr std::chrono::hours kFirst{1};
    EXPECT_EQ(Start(kFirst).artifacts, 0);
    return Start(kFirst + later);
  }
  void CloseDatabase() {
    executor_.reset();
    store_.reset();
  }
};

constexpr std::chrono::hours kLongAfter{24 * 365};

TEST_F(SweepTest, WhatRunsCheckpointsAndVersionsNeedStaysWhateverItsAge) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "retrain"});
  plan.mutable_members(0)->set_initial_weights_digest(Put("initial"));
  const v1::Lease lease = SubmitAndGrant(plan);
  for (int step = 1; step < 4; ++step) {
    v1::CommitCheckpointRequest commit = MakeCheckpoint(lease, 0, step);
    commit.set_best_weights_digest(Put("best at " + std::to_string(step)));
    ASSERT_THAT(executor_->CommitCheckpoint(commit), IsOk());
    const std::set<std::string> before = Stored();
    EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
    EXPECT_EQ(Stored(), before);
  }
  v1::FinishTaskRequest done = MakeDone(lease, 0.5);
  done.mutable_result()->set_final_weights_digest(Put("last epoch's"));
  done.mutable_result()->set_test_probabilities_digest(Put("of the test pictures"));
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  const std::set<std::string> before = Stored();
  Restart();
  EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
  EXPECT_EQ(Stored(), before);
  RegisterData();
  Connect("t1");
  FinishAll([&](const v1::Lease& next) { return MakeDone(next, 0.4); });
  ASSERT_EQ(GetRun().state(), v1::RUN_DONE);
  const std::set<std::string> after = Stored();
  EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
  EXPECT_EQ(Stored(), after);
}

TEST_F(SweepTest, ACrashBetweenUploadAndCommitLosesNothing) {
  const v1::Lease lease = SubmitAndGrant();
  const v1::CommitCheckpointRequest commit = MakeCheckpoint(lease, 0, 1);
  Restart();
  const Swept swept = SweepAfter(kAbandonedAfter - std::chrono::hours(1));
  EXPECT_EQ(swept.artifacts, 0);
  EXPECT_EQ(swept.unreferenced, 1);
  Connect("t1", &lease);
  EXPECT_THAT(executor_->CommitCheckpoint(commit), IsOk());
  EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
  EXPECT_TRUE(IsStored(commit.digest()));
}

TEST_F(SweepTest, AnUploadNobodyCameBackForGoesAndCanComeAgain) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->set_initial_weights_digest(Put("initial"));
  const v1::Lease lease = SubmitAndGrant(plan);
  const v1::CommitCheckpointRequest commit = MakeCheckpoint(lease, 0, 1, "checkpoint");
  Restart();
  const Swept swept = SweepAfter(kAbandonedAfter);
  EXPECT_EQ(swept.artifacts, 1);
  EXPECT_EQ(swept.bytes, 10);
  EXPECT_FALSE(IsStored(commit.digest()));
  Connect("t1", &lease);
  EXPECT_THAT(executor_->CommitCheckpoint(commit),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("upload it first")));
  Put("checkpoint");
  EXPECT_THAT(executor_->CommitCheckpoint(commit), IsOk());
}

// Lost and made anew, it knows none of the artifacts that a backup of it would need.
TEST_F(SweepTest, ADatabaseThatRefersToNothingCostsNoArtifact) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->set_initial_weights_digest(Put("initial"));
  Commit(SubmitAndGrant(plan), 0, 1);
  const std::set<std::string> before = Stored();
  ASSERT_EQ(before.size(), 2);
  CloseDatabase();
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) {
    std::filesystem::remove(file);
  }
  Restart();
  EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
  EXPECT_EQ(Stored(), before);
}

TEST_F(SweepTest, WhatAStartHasNotFoundYetStaysHoweverLateTheNextOne) {
  Commit(SubmitAndGrant(), 0, 1);
  Start(-std::chrono::hours(1));
  const std::string abandoned = Put("stored after that start");
  EXPECT_EQ(Start(kLongAfter).artifacts, 0);
  EXPECT_TRUE(IsStored(abandoned));
  EXPECT_EQ(Start(kLongAfter + kAbandonedAfter).artifacts, 1);
  EXPECT_FALSE(IsStored(abandoned));
}

// Starts in between do not put the end of the week off.
TEST_F(SweepTest, DailyStartsRemoveItAfterAWeekToo) {
  Commit(SubmitAndGrant(), 0, 1);
  const std::string abandoned = Put("abandoned");
  constexpr std::chrono::hours kDay{24};
  std::chrono::hours at{1};
  for (; at < kAbandonedAfter; at += kDay) EXPECT_EQ(Start(at).artifacts, 0) << at.count();
  EXPECT_TRUE(IsStored(abandoned));
  EXPECT_EQ(Start(at).artifacts, 1);
}

TEST_F(SweepTest, AnOlderBackupOfTheDatabaseCostsNothingNewerForAWeek) {
  const std::filesystem::path database = dir_.path() / "state.db";
  const std::filesystem::path backup = dir_.path() / "backup.db";
  const std::filesystem::path newer = dir_.path() / "newer.db";
  const v1::Lease lease = SubmitAndGrant();
  const std::string old_checkpoint = Commit(lease, 0, 1);
  Start(-std::chrono::hours(1));
  CloseDatabase();
  std::filesystem::copy_file(database, backup);
  Restart();
  Connect("t1", &lease);
  const std::string new_checkpoint = Commit(lease, 1, 2);
  ASSERT_THAT(executor_->FinishTask(MakeDone(lease, 0.5)), IsOk());
  const std::set<std::string> stored = Stored();
  ASSERT_TRUE(stored.contains(new_checkpoint));
  CloseDatabase();
  std::filesystem::rename(database, newer);
  std::filesystem::rename(backup, database);
  Restart();
  const Swept restored = Start(kLongAfter);
  EXPECT_EQ(restored.artifacts, 0);
  EXPECT_GT(restored.unreferenced, 1);
  EXPECT_EQ(Start(kLongAfter + kAbandonedAfter - std::chrono::hours(1)).artifacts, 0);
  EXPECT_EQ(Stored(), stored);
  // The newer one is back in time, and later the older one without it.
  CloseDatabase();
  std::filesystem::rename(database, backup);
  std::filesystem::rename(newer, database);
  Restart();
  EXPECT_EQ(SweepAfter(2 * kLongAfter).artifacts, 0);
  EXPECT_EQ(Stored(), stored);
  CloseDatabase();
  std::filesystem::rename(backup, database);
  Restart();
  EXPECT_EQ(Start(kLongAfter + kAbandonedAfter).artifacts, restored.unreferenced);
  EXPECT_FALSE(IsStored(new_checkpoint));
  EXPECT_TRUE(IsStored(old_checkpoint));
}

}  // namespace
}  // namespace atelier::coordinator
