#include "services/coordinator/plan.h"

#include <functional>
#include <limits>

#include "tests/testing/status_matchers.h"
#include "tests/unit/coordinator/plans.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct WrongField {
  const char* name;
  std::function<void(v1::RunPlan&)> change;
  const char* says;
};

class CompletePlanErrors : public ::testing::TestWithParam<WrongField> {};

TEST_P(CompletePlanErrors, NamesTheField) {
  v1::RunPlan plan = MakePlan({"a", "b"}, {"train", "retrain"});
  ASSERT_THAT(CompletePlan(plan), IsOk());
  GetParam().change(plan);
  EXPECT_THAT(CompletePlan(plan),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().says)));
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    Fields, CompletePlanErrors,
    ::testing::Values(
        WrongField{"NoMembers", [](v1::RunPlan& p) { p.clear_members(); }, "members is 0"},
        WrongField{"NoStages", [](v1::RunPlan& p) { p.clear_stages(); }, "stages is 0"},
        WrongField{"Backbone", [](v1::RunPlan& p) { p.mutable_members(1)->set_backbone("vgg"); },
                   "\"vgg\""},
        WrongField{"SameMemberTwice", [](v1::RunPlan& p) { p.mutable_members(1)->set_name("a"); },
                   "members[1].name"},
        WrongField{"MemberNameThatIsAPath",
                   [](v1::RunPlan& p) { p.mutable_members(0)->set_name("../x"); },
                   "members[0].name"},
        WrongField{"MemberImage",
                   [](v1::RunPlan& p) { p.mutable_members(1)->mutable_image()->set_size(8); },
                   "members[1].image.size is 8; allowed: 16..1024"},
        WrongField{"BackboneMinimum",
                   [](v1::RunPlan& p) { p.mutable_members(1)->set_backbone("xception"); },
                   "members[1].image.size is 32; allowed: at least 71"},
        WrongField{
            "WeightsDigest",
            [](v1::RunPlan& p) { p.mutable_members(0)->set_initial_weights_digest("latest"); },
            "members[0].initial_weights_digest"},
        WrongField{"ImageSize", [](v1::RunPlan& p) { p.mutable_image()->set_size(2000); },
                   "image.size is 2000; allowed: 16..1024"},
        WrongField{"Channels", [](v1::RunPlan& p) { p.mutable_image()->set_channels(2); },
                   "image.channels is 2; allowed: 1 or 3"},
        WrongField{"BatchSize", [](v1::RunPlan& p) { p.set_batch_size(-1); }, "batch_size is -1"},
        WrongField{"ValidationFraction", [](v1::RunPlan& p) { p.set_validation_fraction(0.95); },
                   "validation_fraction is 0.95; allowed: 0..0.9"},
        WrongField{"ValidationFractionNan", [](v1::RunPlan& p) { p.set_validation_fraction(kNan); },
                   "validation_fraction is nan"},
        WrongField{"Dropout", [](v1::RunPlan& p) { p.mutable_head()->set_dropout(1); },
                   "head.dropout is 1"},
        WrongField{"L2", [](v1::RunPlan& p) { p.mutable_head()->set_l2(-1); }, "head.l2 is -1"},
        WrongField{"Threads", [](v1::RunPlan& p) { p.set_threads(-4); }, "threads is -4"},
        WrongField{"BadSampleBudget", [](v1::RunPlan& p) { p.set_bad_sample_budget(-0.5); },
                   "bad_sample_budget is -0.5"},
        // As vision::ValidateAugmentation and ValidateCutMix, which the data-service asks at a
        // stage's first batch.
        WrongField{
            "Zoom",
            [](v1::RunPlan& p) { p.mutable_stages(0)->mutable_augmentation()->set_zoom(0.92F); },
            "augmentation.zoom is 0.92; allowed: 0..0.9"},
        WrongField{"CutMixAlpha",
                   [](v1::RunPlan& p) { p.mutable_stages(0)->mutable_cutmix()->set_alpha(200); },
                   "cutmix.alpha is 200; allowed: 0..100"},
        WrongField{"MinMembers", [](v1::RunPlan& p) { p.set_min_members(3); },
                   "min_members is 3; allowed: 0..2"},
        WrongField{"Epochs", [](v1::RunPlan& p) { p.mutable_stages(1)->set_epochs(0); },
                   "stages[1].epochs is 0"},
        WrongField{"LearningRate",
                   [](v1::RunPlan& p) {
                     p.mutable_stages(0)->mutable_optimizer()->set_learning_rate(kNan);
                   },
                   "stages[0].optimizer.learning_rate is nan"},
        WrongField{"BothSchedules",
                   [](v1::RunPlan& p) {
                     p.mutable_stages(0)->mutable_schedule()->set_cosine(true);
                     p.mutable_stages(0)->mutable_schedule()->set_reduce_on_plateau(true);
                   },
                   "stages[0].schedule"},
        WrongField{"ScheduleFactor",
                   [](v1::RunPlan& p) { p.mutable_stages(0)->mutable_schedule()->set_factor(-2); },
                   "stages[0].schedule.factor is -2"},
        WrongField{"Rotation",
                   [](v1::RunPlan& p) {
                     p.mutable_stages(0)->mutable_augmentation()->set_rotation_degrees(400);
                   },
                   "stages[0].augmentation.rotation_degrees is 400"},
        WrongField{"StageName", [](v1::RunPlan& p) { p.mutable_stages(0)->set_name(""); },
                   "stages[0].name"},
        WrongField{"SameStageTwice", [](v1::RunPlan& p) { p.mutable_stages(1)->set_name("train"); },
                   "two are named train"},
        WrongField{"Name", [](v1::RunPlan& p) { p.set_name("my birds"); }, "name:"}),
    [](const auto& row) { return row.param.name; });

TEST(CompletePlan, FillsInWhatIsUnset) {
  v1::RunPlan plan;
  plan.add_members()->set_backbone("tiny_cnn");
  plan.add_stages()->set_name("train");
  plan.mutable_stages(0)->set_epochs(2);
  plan.mutable_stages(0)->set_early_stopping_patience(10);
  plan.mutable_stages(0)->mutable_optimizer()->set_learning_rate(0.01F);
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan complete, CompletePlan(plan));

  EXPECT_EQ(complete.dataset(), ".");
  EXPECT_EQ(complete.batch_size(), 20);
  EXPECT_EQ(complete.checkpoint_seconds(), 60);
  EXPECT_EQ(complete.max_attempts(), 5);
  EXPECT_DOUBLE_EQ(complete.bad_sample_budget(), 0.05);
  EXPECT_EQ(complete.time_zone(), "Asia/Seoul");
  EXPECT_EQ(complete.combination(), v1::MEAN);
  const v1::MemberSpec& member = complete.members(0);
  EXPECT_EQ(member.name(), "tiny_cnn");
  EXPECT_EQ(member.image().size(), 200);
  EXPECT_EQ(member.image().channels(), 3);
  EXPECT_EQ(member.image().filter(), v1::AREA);
  EXPECT_EQ(member.scaling(), v1::AUTO);
  const v1::StageSpec& stage = complete.stages(0);
  EXPECT_EQ(stage.schedule().patience(), 5);
  EXPECT_FLOAT_EQ(stage.optimizer().beta1(), 0.9F);
  EXPECT_FLOAT_EQ(stage.optimizer().epsilon(), 1e-7F);
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan again, CompletePlan(complete));
  EXPECT_EQ(again.SerializeAsString(), complete.SerializeAsString());
}

TEST(CompletePlan, AMembersOwnImageWinsFieldByField) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_members(0)->mutable_image()->set_channels(1);
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan complete, CompletePlan(plan));
  EXPECT_EQ(complete.members(0).image().channels(), 1);
  EXPECT_EQ(complete.members(0).image().size(), 32);
}

TEST(CompletePlan, RefusesABatchOverTheReceiveLimitAndSaysWhatToMakeSmaller) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_image()->set_size(512);
  plan.set_batch_size(20);  // 20 * 512 * 512 * 3 = 15.7 million: just under
  EXPECT_THAT(CompletePlan(plan), IsOk());
  plan.set_batch_size(22);
  EXPECT_THAT(CompletePlan(plan),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("batch_size 22"), HasSubstr("make batch_size"))));
}

TEST(BindDataset, TakesClassesDigestAndNameOfTheDataset) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.clear_name();
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan bound, BindDataset(plan, MakeSummary()));
  EXPECT_THAT(bound.classes(), ElementsAre("jay", "owl"));
  EXPECT_EQ(bound.dataset_digest(), MakeSummary().digest());
  EXPECT_EQ(bound.name(), "pictures");
}

TEST(BindDataset, KeepsTheOrderOfClassesAndTheNameAskedFor) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.add_classes("owl");
  plan.add_classes("jay");
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan bound, BindDataset(plan, MakeSummary()));
  EXPECT_THAT(bound.classes(), ElementsAre("owl", "jay"));
  EXPECT_EQ(bound.name(), "birds");
}

TEST(BindDataset, AFolderNameThatIsNoPlainNameIsReplaced) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.clear_name();
  v1::DatasetSummary summary = MakeSummary();
  summary.set_folder_name("my pictures");
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan bound, BindDataset(plan, summary));
  EXPECT_EQ(bound.name(), "ensemble");
}

TEST(BindDataset, RefusesFewerThanTwoClasses) {
  v1::DatasetSummary summary = MakeSummary();
  summary.mutable_classes()->RemoveLast();
  EXPECT_THAT(BindDataset(MakePlan({"a"}, {"train"}), summary),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has 1 labelled classes")));
}

// As vision::Compose, which is asked for such a stage only once the ones before it are done.
TEST(BindDataset, RefusesAStageWhoseUndersampledClassesCannotBeSplit) {
  v1::RunPlan plan = MakePlan({"a"}, {"train", "retrain"});
  plan.set_validation_fraction(0.1);
  v1::DatasetSummary summary = MakeSummary();
  const auto bind = [&](int smallest) {
    summary.mutable_classes(0)->set_found(100);
    summary.mutable_classes(1)->set_found(smallest);
    return BindDataset(plan, summary);
  };
  EXPECT_THAT(bind(5), IsOk()) << "no stage undersamples";
  plan.mutable_stages(1)->set_undersample(true);
  EXPECT_THAT(bind(5), StatusIs(absl::StatusCode::kFailedPrecondition,
                                HasSubstr("stage retrain undersamples to 5 pictures")));
  EXPECT_THAT(bind(6), IsOk()) << "2 of 12 are set aside";
  plan.set_validation_fraction(0);
  EXPECT_THAT(bind(5), IsOk()) << "nothing is set aside";
}

TEST(BindDataset, RefusesABatchWhoseLabelsMakeItMoreThanAMessage) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.mutable_image()->set_size(144);
  plan.set_batch_size(256);
  ASSERT_OK_AND_ASSIGN(plan, CompletePlan(plan));
  v1::DatasetSummary summary = MakeSummary();
  const auto bind = [&](int classes) {
    for (int i = summary.classes_size(); i < classes; ++i) {
      summary.add_classes()->set_name(std::to_string(i));
    }
    return BindDataset(plan, summary);
  };
  EXPECT_THAT(bind(500), IsOk());
  EXPECT_THAT(bind(1000),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("and 1000 classes")));
}

TEST(ExpandTasks, OrdersByMemberThenStage) {
  std::vector<std::string> names;
  for (const v1::Task& task : ExpandTasks(MakePlan({"a", "b"}, {"train", "retrain"}))) {
    EXPECT_EQ(task.state(), v1::TASK_WAITING);
    names.push_back(task.member() + "/" + task.stage());
  }
  EXPECT_THAT(names, ElementsAre("a/train", "a/retrain", "b/train", "b/retrain"));
}

class AssignmentForTest : public ::testing::Test {
 protected:
  // The run of a complete plan with the first stage changed by `change`.
  v1::Run MakeRun(const std::function<void(v1::RunPlan&)>& change) {
    v1::RunPlan plan = MakePlan({"a", "b"}, {"train", "full_data"});
    change(plan);
    v1::Run run;
    *run.mutable_dataset() = MakeSummary();
    *run.mutable_plan() = *BindDataset(*CompletePlan(plan), run.dataset());
    return run;
  }
  static v1::Task MakeTask(const std::string& member, const std::string& stage) {
    v1::Task task;
    task.set_member(member);
    task.set_stage(stage);
    return task;
  }
  const v1::Task task_ = MakeTask("a", "train");
};

TEST_F(AssignmentForTest, OnlyTrainingIsAugmentedAndShuffled) {
  v1::Run run = MakeRun([](v1::RunPlan& plan) {
    plan.mutable_stages(0)->mutable_augmentation()->set_horizontal_flip(true);
    plan.mutable_stages(0)->mutable_cutmix()->set_variant(v1::CutMixSpec::NOTEBOOK);
  });
  run.mutable_dataset()->set_test(4);
  const v1::Assignment assignment = AssignmentFor(run, task_);
  EXPECT_EQ(assignment.training().subset(), v1::TRAINING);
  EXPECT_TRUE(assignment.training().shuffle());
  EXPECT_TRUE(assignment.training().augmentation().horizontal_flip());
  EXPECT_EQ(assignment.training().cutmix().variant(), v1::CutMixSpec::NOTEBOOK);
  for (const v1::DataPlan* plan : {&assignment.validation(), &assignment.test()}) {
    EXPECT_FALSE(plan->shuffle());
    EXPECT_FALSE(plan->has_augmentation());
    EXPECT_FALSE(plan->has_cutmix());
    EXPECT_EQ(plan->dataset_digest(), run.plan().dataset_digest());
    EXPECT_EQ(plan->image().size(), 32);
    EXPECT_THAT(plan->classes(), ElementsAre("jay", "owl"));
  }
  EXPECT_EQ(assignment.validation().subset(), v1::VALIDATION);
  EXPECT_EQ(assignment.test().subset(), v1::TEST);
}

TEST_F(AssignmentForTest, WithoutValidationPartOrTestPicturesTheirPlansAreUnset) {
  const v1::Run run = MakeRun([](v1::RunPlan& plan) { plan.set_validation_fraction(0); });
  const v1::Assignment assignment = AssignmentFor(run, task_);
  EXPECT_FALSE(assignment.has_validation());
  EXPECT_FALSE(assignment.has_test());
}

TEST_F(AssignmentForTest, AStageOnAllDataTrainsOnEverythingAndStillValidates) {
  const v1::Run run =
      MakeRun([](v1::RunPlan& plan) { plan.mutable_stages(1)->set_all_data(true); });
  const v1::Assignment assignment = AssignmentFor(run, MakeTask("a", "full_data"));
  EXPECT_EQ(assignment.training().subset(), v1::ALL_LABELED);
  EXPECT_EQ(assignment.validation().subset(), v1::VALIDATION);
}

TEST_F(AssignmentForTest, UndersamplingIsPartOfBothSplitsAndNeedsNoClassWeights) {
  const v1::Run run = MakeRun([](v1::RunPlan& plan) {
    plan.mutable_stages(0)->set_undersample(true);
    plan.mutable_stages(0)->set_class_weights(v1::BALANCED);
  });
  const v1::Assignment assignment = AssignmentFor(run, task_);
  EXPECT_TRUE(assignment.training().split().undersample());
  EXPECT_TRUE(assignment.validation().split().undersample());
  EXPECT_THAT(assignment.class_weights(), IsEmpty());
}

TEST_F(AssignmentForTest, BalancedClassWeightsAreScikitLearns) {
  // n / (k * n_c): 8 / (2 * 6), 8 / (2 * 2); on all data 12 / (2 * 8), 12 / (2 * 4).
  const v1::Run run = MakeRun([](v1::RunPlan& plan) {
    for (v1::StageSpec& stage : *plan.mutable_stages()) stage.set_class_weights(v1::BALANCED);
    plan.mutable_stages(1)->set_all_data(true);
  });
  EXPECT_THAT(AssignmentFor(run, task_).class_weights(),
              ElementsAre(DoubleEq(8.0 / 12), DoubleEq(2.0)));
  EXPECT_THAT(AssignmentFor(run, MakeTask("a", "full_data")).class_weights(),
              ElementsAre(DoubleEq(12.0 / 16), DoubleEq(1.5)));
}

TEST_F(AssignmentForTest, ClassWeightsFollowThePlansOrderOfClasses) {
  const v1::Run run = MakeRun([](v1::RunPlan& plan) {
    plan.mutable_stages(0)->set_class_weights(v1::BALANCED);
    plan.add_classes("owl");
    plan.add_classes("jay");
  });
  EXPECT_THAT(AssignmentFor(run, task_).class_weights(),
              ElementsAre(DoubleEq(2.0), DoubleEq(8.0 / 12)));
}

TEST_F(AssignmentForTest, MembersHaveSeedsOfTheirOwnAndShareTheDataPlan) {
  const v1::Run run = MakeRun([](v1::RunPlan&) {});
  const v1::Assignment a = AssignmentFor(run, task_);
  const v1::Assignment b = AssignmentFor(run, MakeTask("b", "train"));
  EXPECT_NE(a.member_seed(), b.member_seed());
  EXPECT_EQ(a.member_seed(), AssignmentFor(run, task_).member_seed());
  EXPECT_EQ(a.training().SerializeAsString(), b.training().SerializeAsString());
  const v1::Run other = MakeRun([](v1::RunPlan& plan) { plan.set_seed(8); });
  EXPECT_NE(a.member_seed(), AssignmentFor(other, task_).member_seed());
}

TEST_F(AssignmentForTest, TheEnvironmentOfTheFirstCheckpointIsHandedOn) {
  const v1::Run run = MakeRun([](v1::RunPlan&) {});
  EXPECT_FALSE(AssignmentFor(run, task_).has_environment());
  v1::Task task = task_;
  task.mutable_environment()->set_threads(3);
  EXPECT_EQ(AssignmentFor(run, task).environment().threads(), 3);
}

}  // namespace
}  // namespace atelier::coordinator
