// From finished tasks to a published, promoted ensemble version.
#include <functional>
#include <future>
#include <limits>
#include <thread>

#include "common/ensemble/combine.h"
#include "common/ensemble/metrics.h"
#include "common/ensemble/preprocessing_digest.h"
#include "tests/unit/coordinator/executor_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class PublicationTest : public ExecutorTest {
 protected:
  // Runs the plan to its end; every task ends with `losses` of its stage.
  v1::Run Train(const v1::RunPlan& plan, const std::map<std::string, double>& losses) {
    Connect("t1");
    run_id_ = Submit(plan);
    FinishAll([&](const v1::Lease& lease) { return MakeDone(lease, losses.at(lease.stage())); });
    return GetRun();
  }
  // Weights of the member the run published, by what was put.
  static std::string WeightsOf(const v1::Run& run, int member = 0) {
    return run.ensemble().members(member).weights_digest();
  }
  std::string EventTexts() {
    std::string texts;
    const RunExecutor::News news = *executor_->NewsAfter(run_id_, 0, 0);
    for (const v1::RunEvent& event : news.events) {
      texts += event.run().text() + "\n";
    }
    return texts;
  }
  // Ticks; the first artifact that is read waits for `call`, on a thread of its own. False when
  // that did not end while it waited.
  bool TickMeanwhile(const std::function<void()>& call) {
    std::promise<void> called;
    std::thread thread;
    bool ended = false;
    artifacts_->SetOnOpen([&] {
      if (thread.joinable()) return;
      thread = std::thread([&] {
        call();
        called.set_value();
      });
      ended = called.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    });
    executor_->Tick();
    artifacts_->SetOnOpen(nullptr);
    if (thread.joinable()) thread.join();
    return ended;
  }
};

TEST_F(PublicationTest, TheFirstVersionIsPromotedByItselfALaterOneOnlyWhenAskedFor) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  const std::map<std::string, double> losses = {{"train", 0.5}};
  EXPECT_EQ(Train(plan, losses).ensemble().version(), 1);
  EXPECT_EQ(executor_->GetPromoted("birds")->ensemble().version(), 1);
  EXPECT_EQ(Train(plan, losses).ensemble().version(), 2);
  EXPECT_EQ(executor_->GetPromoted("birds")->ensemble().version(), 1);
  EXPECT_FALSE(executor_->ListEnsembles("birds")->ensembles(0).promoted_once());
  plan.set_promote(true);
  EXPECT_EQ(Train(plan, losses).ensemble().version(), 3);
  EXPECT_EQ(executor_->GetPromoted("birds")->ensemble().version(), 3);
}

TEST_F(PublicationTest, PromotingAnOlderVersionRollsBack) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.set_promote(true);
  Train(plan, {{"train", 0.5}});
  Train(plan, {{"train", 0.5}});
  v1::PromoteEnsembleRequest request;
  request.set_request_id(NewId());
  request.set_name("birds");
  request.set_version(1);
  ASSERT_THAT(executor_->Promote(request), IsOk());
  EXPECT_EQ(executor_->GetPromoted("")->ensemble().version(), 1);
  EXPECT_EQ(executor_->GetEnsemble("birds", 0)->version(), 1);
  const v1::ListEnsemblesResponse listed = *executor_->ListEnsembles("birds");
  ASSERT_EQ(listed.ensembles_size(), 2);
  EXPECT_EQ(listed.ensembles(0).ensemble().version(), 2);
  EXPECT_FALSE(listed.ensembles(0).promoted());
  EXPECT_TRUE(listed.ensembles(1).promoted());
  EXPECT_TRUE(listed.ensembles(0).promoted_once());
  EXPECT_TRUE(listed.ensembles(1).promoted_once());

  request.set_request_id(NewId());
  request.set_version(7);
  EXPECT_THAT(executor_->Promote(request),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("birds@2, birds@1")));
}

TEST_F(PublicationTest, PublishingIsIdempotentAndChecksWeightsAndClasses) {
  v1::PublishEnsembleRequest request;
  request.set_request_id("once");
  request.mutable_ensemble()->set_name("mine");
  request.mutable_ensemble()->add_classes("jay");
  request.mutable_ensemble()->add_classes("owl");
  v1::EnsembleMember& member = *request.mutable_ensemble()->add_members();
  member.set_name("a");
  member.mutable_model()->set_classes(2);
  member.set_weights_digest(Sha256Hex("w"));
  EXPECT_THAT(executor_->Publish(request), StatusIs(absl::StatusCode::kFailedPrecondition));
  Put("w");
  EXPECT_EQ(executor_->Publish(request)->version(), 1);
  EXPECT_EQ(executor_->Publish(request)->version(), 1);
  request.set_promote(true);
  EXPECT_THAT(executor_->Publish(request), StatusIs(absl::StatusCode::kInvalidArgument));
  request.set_request_id("other");
  member.mutable_model()->set_classes(3);
  EXPECT_THAT(executor_->Publish(request),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("predicts 3 classes")));
  request.mutable_ensemble()->set_name("../x");
  EXPECT_THAT(executor_->Publish(request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(PublicationTest, TheBetterStageIsKept) {
  const v1::Run run =
      Train(MakePlan({"a"}, {"train", "retrain"}), {{"train", 0.3}, {"retrain", 0.4}});
  EXPECT_EQ(WeightsOf(run), Sha256Hex("weights a/train"));
  EXPECT_DOUBLE_EQ(run.ensemble().members(0).validation_loss(), 0.3);
  EXPECT_THAT(EventTexts(), HasSubstr("worse than 0.3000 of stage train, whose weights are taken"));
}

TEST_F(PublicationTest, TheLaterOfTwoEqualStagesIsKept) {
  const v1::Run run =
      Train(MakePlan({"a"}, {"train", "retrain"}), {{"train", 0.3}, {"retrain", 0.3}});
  EXPECT_EQ(WeightsOf(run), Sha256Hex("weights a/retrain"));
}

TEST_F(PublicationTest, RecipeSeedTakesTheLastStageAndWarns) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "retrain"});
  plan.set_recipe("seed");
  const v1::Run run = Train(plan, {{"train", 0.3}, {"retrain", 0.4}});
  EXPECT_EQ(WeightsOf(run), Sha256Hex("weights a/retrain"));
  EXPECT_THAT(EventTexts(), HasSubstr("takes the last stage all the same"));
}

TEST_F(PublicationTest, ALastStageOnAllDataWinsWhateverItsValLoss) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "full_data"});
  plan.mutable_stages(1)->set_all_data(true);
  const v1::Run run = Train(plan, {{"train", 0.3}, {"full_data", 0.9}});
  EXPECT_EQ(WeightsOf(run), Sha256Hex("weights a/full_data"));
}

TEST_F(PublicationTest, WithoutValidationTheLastStageIsTakenAndNothingIsScored) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "retrain"});
  plan.set_validation_fraction(0);
  Connect("t1");
  run_id_ = Submit(plan);
  FinishAll([&](const v1::Lease& lease) {
    v1::FinishTaskRequest done = MakeDone(lease, std::numeric_limits<double>::quiet_NaN());
    done.mutable_result()->clear_validation_labels_digest();
    done.mutable_result()->clear_validation_probabilities_digest();
    return done;
  });
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
  EXPECT_EQ(WeightsOf(GetRun()), Sha256Hex("weights a/retrain"));
  EXPECT_EQ(GetRun().metrics().images(), 0);
}

TEST_F(PublicationTest, AStageThatDivergedIsNotTaken) {
  const v1::Run run =
      Train(MakePlan({"a"}, {"train", "retrain"}),
            {{"train", 0.3}, {"retrain", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_EQ(WeightsOf(run), Sha256Hex("weights a/train"));
}

TEST_F(PublicationTest, MetricsAreThoseOfCommonEnsemble) {
  Connect("t1");
  run_id_ = Submit(MakePlan({"a", "b"}, {"train"}));
  FinishAll([&](const v1::Lease& lease) {
    return MakeDone(lease, 0.5, lease.member() == "a" ? 0.9F : 0.2F);
  });
  const std::vector<ensemble::Probabilities> members = {{2, 2, {0.9F, 1 - 0.9F, 1 - 0.9F, 0.9F}},
                                                        {2, 2, {0.2F, 1 - 0.2F, 1 - 0.2F, 0.2F}}};
  const std::vector<int> labels = {0, 1};
  const ensemble::Metrics expected = *ensemble::Score(*ensemble::Mean(members), labels);
  const v1::EnsembleMetrics metrics = GetRun().metrics();
  EXPECT_EQ(metrics.images(), 2);
  EXPECT_DOUBLE_EQ(metrics.accuracy(), expected.accuracy);
  EXPECT_DOUBLE_EQ(metrics.log_loss(), expected.log_loss);
  EXPECT_DOUBLE_EQ(metrics.accuracy_low(), expected.accuracy_interval.low);
  EXPECT_DOUBLE_EQ(metrics.accuracy_high(), expected.accuracy_interval.high);
  EXPECT_THAT(std::vector<int>(metrics.confusion().begin(), metrics.confusion().end()),
              ::testing::ElementsAreArray(expected.confusion));
  ASSERT_EQ(metrics.members_size(), 2);
  EXPECT_DOUBLE_EQ(metrics.members(0).accuracy(), 1.0);
  EXPECT_DOUBLE_EQ(metrics.members(1).accuracy(), 0.0);
  EXPECT_DOUBLE_EQ(metrics.members(1).log_loss(), ensemble::Score(members[1], labels)->log_loss);

  const v1::EnsembleVersion version = GetRun().ensemble();
  EXPECT_DOUBLE_EQ(version.validation_accuracy(), expected.accuracy);
  EXPECT_EQ(version.preprocessing_digest(), ensemble::PreprocessingDigest(version));
  EXPECT_EQ(version.run_id(), run_id_);
}

// All runs are one message.
TEST_F(PublicationTest, AListHasTheScoresWithoutTheConfusion) {
  const v1::Run run = Train(MakePlan({"a"}, {"train"}), {{"train", 0.5}});
  EXPECT_EQ(run.metrics().confusion_size(), 4);
  ASSERT_OK_AND_ASSIGN(const v1::ListRunsResponse listed, executor_->List());
  ASSERT_EQ(listed.runs_size(), 1);
  EXPECT_EQ(listed.runs(0).metrics().confusion_size(), 0);
  EXPECT_EQ(listed.runs(0).metrics().images(), 2);
}

TEST_F(PublicationTest, AnEnsembleThatCannotBeStoredFailsTheRun) {
  ASSERT_THAT(executor_->FinishTask(MakeDone(SubmitAndGrant(), 0.5)), IsOk());
  store_->refuse_once = absl::InvalidArgumentError("too large for a row");
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
  EXPECT_THAT(GetRun().error(), HasSubstr("too large for a row"));
}

TEST_F(PublicationTest, ADamagedProbabilityArtifactFailsTheRunAndResumePublishesOnceItIsBack) {
  Connect("t1");
  run_id_ = Submit(MakePlan({"a"}, {"train"}));
  executor_->Tick();
  const v1::FinishTaskRequest done = MakeDone(Assigned("t1").value().lease(), 0.5);
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  const std::string& digest = done.result().validation_probabilities_digest();
  const std::string bytes = *artifacts_->ReadAll(digest);
  ASSERT_THAT(artifacts_->Delete(digest), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
  EXPECT_THAT(GetRun().error(), HasSubstr("cannot be scored"));
  Put(bytes);
  ASSERT_THAT(executor_->Resume(run_id_), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

TEST_F(PublicationTest, ResultsThatCannotBeReadNowArePublishedOnceTheyCan) {
  ASSERT_THAT(executor_->FinishTask(MakeDone(SubmitAndGrant(), 0.5)), IsOk());
  for (const absl::Status& now : {absl::ResourceExhaustedError("too many open files"),
                                  absl::UnavailableError("the disk is away")}) {
    artifacts_->FailOpens(now);
    EXPECT_LT(executor_->Tick(), clock_.Now() + std::chrono::seconds(5)) << "tries again";
    EXPECT_EQ(GetRun().state(), v1::RUN_RUNNING) << now;
  }
  artifacts_->FailOpens(absl::OkStatus());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

// Reading may take longer than a lease.
TEST_F(PublicationTest, LeasesAreRenewedWhileAFinishedRunIsScored) {
  const v1::Lease done = SubmitAndGrant();
  Connect("t2");
  Submit(MakePlan({"b"}, {"train"}));
  executor_->Tick();
  const v1::Lease held = Assigned("t2").value().lease();
  ASSERT_THAT(executor_->FinishTask(MakeDone(done, 0.5)), IsOk());
  EXPECT_TRUE(TickMeanwhile([&] { Progress("t2", held, 0, 1); }));
  ASSERT_EQ(inboxes_["t2"].size(), 1U);
  EXPECT_TRUE(inboxes_["t2"].front().has_renewed());
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

TEST_F(PublicationTest, ARunThatIsCancelledWhileItIsScoredStaysCancelled) {
  const v1::FinishTaskRequest done = MakeDone(SubmitAndGrant(), 0.5);
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  const auto cancel = [&] { EXPECT_THAT(executor_->Cancel(run_id_, "enough"), IsOk()); };
  EXPECT_TRUE(TickMeanwhile(cancel));
  EXPECT_EQ(GetRun().state(), v1::RUN_CANCELLED);
  EXPECT_EQ(executor_->ListEnsembles("")->ensembles_size(), 0);

  // The same when it could not have been scored.
  const std::string& labels = done.result().validation_labels_digest();
  const std::string bytes = *artifacts_->ReadAll(labels);
  ASSERT_THAT(artifacts_->Delete(labels), IsOk());
  ASSERT_THAT(executor_->Resume(run_id_), IsOk());
  EXPECT_TRUE(TickMeanwhile(cancel));
  EXPECT_EQ(GetRun().state(), v1::RUN_CANCELLED);

  Put(bytes);
  ASSERT_THAT(executor_->Resume(run_id_), IsOk());
  executor_->Tick();
  EXPECT_EQ(GetRun().state(), v1::RUN_DONE);
}

// What a trainer uploaded is checked before it is scored, so that the run ends (P8).
TEST_F(PublicationTest, ProbabilitiesOfAnotherNumberOfClassesFailTheRun) {
  const std::vector<ensemble::Probabilities> uploads = {
      {2, 1, {1, 1}},
      {2, 3, {1, 0, 0, 0, 1, 0}},
      {0, std::numeric_limits<int>::max(), {}},
  };
  for (const ensemble::Probabilities& upload : uploads) {
    SCOPED_TRACE(upload.columns);
    Connect("t1");
    run_id_ = Submit(MakePlan({"a"}, {"train"}));
    FinishAll([&](const v1::Lease& lease) {
      v1::FinishTaskRequest done = MakeDone(lease, 0.5);
      done.mutable_result()->set_validation_probabilities_digest(Put(ensemble::ToNpy(upload)));
      if (upload.rows == 0) {
        done.mutable_result()->set_validation_labels_digest(
            Put(ensemble::ToNpy(std::vector<int>{})));
      }
      return done;
    });
    EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
    EXPECT_THAT(GetRun().error(), HasSubstr("expected 2 classes"));
    Restart();
    RegisterData();
    executor_->Tick();
    EXPECT_EQ(GetRun().state(), v1::RUN_FAILED);
  }
}

TEST_F(PublicationTest, APublishedRunKeepsItsResultsAndItsLedgerButNoCheckpoint) {
  const v1::Lease lease = SubmitAndGrant();
  v1::CommitCheckpointRequest first = MakeCheckpoint(lease, 0, 1);
  first.add_applied()->set_step(0);
  first.set_best_weights_digest(Put("the best before"));
  ASSERT_THAT(executor_->CommitCheckpoint(first), IsOk());
  const std::string second = Commit(lease, 1, 2);
  v1::FinishTaskRequest done = MakeDone(lease, 0.5);
  done.mutable_result()->set_final_weights_digest(Put("of the last epoch"));
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  store_->full = true;
  executor_->Tick();
  store_->full = false;
  ASSERT_EQ(GetRun().state(), v1::RUN_RUNNING);
  EXPECT_TRUE(IsStored(first.digest()));
  EXPECT_TRUE(IsStored(second));
  executor_->Tick();
  ASSERT_EQ(GetRun().state(), v1::RUN_DONE);

  EXPECT_FALSE(IsStored(first.digest()));
  EXPECT_FALSE(IsStored(first.best_weights_digest()));
  EXPECT_FALSE(IsStored(second));
  EXPECT_EQ(GetTask().checkpoint_digest(), "");
  EXPECT_EQ(GetTask().checkpoint_cursor().step(), 2) << "how far it got stays";
  EXPECT_TRUE(IsStored(done.result().weights_digest()));
  EXPECT_TRUE(IsStored(done.result().final_weights_digest()));
  EXPECT_TRUE(IsStored(done.result().validation_probabilities_digest()));
  EXPECT_TRUE(IsStored(done.result().validation_labels_digest()));
  ASSERT_THAT(store_->Transact([&](Transaction& transaction) {
    const TaskKey key{run_id_, "a", "train"};
    EXPECT_TRUE(transaction.ListCheckpoints(key)->empty());
    EXPECT_FALSE(*transaction.IsReferenced(second));
    EXPECT_THAT(transaction.AddAppliedStep(key, 9, v1::AppliedStep()),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("applied before")));
    return absl::OkStatus();
  }),
              IsOk());
}

TEST_F(PublicationTest, ARunThatEndedOtherwiseKeepsItsCheckpointsToBeResumed) {
  const v1::Lease lease = SubmitAndGrant();
  const std::string checkpoint = Commit(lease, 0, 1);
  const v1::FinishTaskRequest done = MakeDone(lease, 0.5);
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  const std::string& labels = done.result().validation_labels_digest();
  const std::string bytes = *artifacts_->ReadAll(labels);
  ASSERT_THAT(artifacts_->Delete(labels), IsOk());
  executor_->Tick();
  ASSERT_EQ(GetRun().state(), v1::RUN_FAILED);
  EXPECT_TRUE(IsStored(checkpoint));
  EXPECT_EQ(GetTask().checkpoint_digest(), checkpoint);
  Put(bytes);
  ASSERT_THAT(executor_->Resume(run_id_), IsOk());
  executor_->Tick();
  ASSERT_EQ(GetRun().state(), v1::RUN_DONE);
  EXPECT_FALSE(IsStored(checkpoint));
}

TEST_F(PublicationTest, WhatAVersionNeedsIsNeverDeleted) {
  const v1::Lease lease = SubmitAndGrant();
  // The best weights are those that the last checkpoints carried, and are let go of with them.
  v1::FinishTaskRequest done = MakeDone(lease, 0.5);
  v1::CommitCheckpointRequest commit = MakeCheckpoint(lease, 0, 1);
  commit.set_best_weights_digest(done.result().weights_digest());
  ASSERT_THAT(executor_->CommitCheckpoint(commit), IsOk());
  ASSERT_THAT(executor_->FinishTask(done), IsOk());
  executor_->Tick();
  ASSERT_EQ(GetRun().state(), v1::RUN_DONE);
  EXPECT_TRUE(IsStored(done.result().weights_digest()));
  ASSERT_THAT(store_->Transact([&](Transaction& transaction) {
    EXPECT_THAT(transaction.RemoveReferences(CheckpointOwner({run_id_, "a", "train"}, 1)), IsOk());
    EXPECT_TRUE(*transaction.IsReferenced(done.result().weights_digest()));
    return absl::OkStatus();
  }),
              IsOk());
}

}  // namespace
}  // namespace atelier::coordinator
