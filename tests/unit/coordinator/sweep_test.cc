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
  // As a coordinator that starts `later` does.
  Swept SweepAfter(std::chrono::hours later) {
    auto swept = SweepArtifacts(*store_, *artifacts_, std::chrono::system_clock::now() + later);
    EXPECT_THAT(swept, IsOk());
    return swept.value_or(Swept());
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
  EXPECT_EQ(SweepAfter(kAbandonedAfter - std::chrono::hours(1)).artifacts, 0);
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
  executor_.reset();
  store_.reset();
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) {
    std::filesystem::remove(file);
  }
  Restart();
  EXPECT_EQ(SweepAfter(kLongAfter).artifacts, 0);
  EXPECT_EQ(Stored(), before);
}

}  // namespace
}  // namespace atelier::coordinator
