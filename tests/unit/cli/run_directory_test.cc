#include "services/cli/run_directory.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include <fstream>

#include "services/cli/recipe/recipe.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/cli/sample_run.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

TEST(RunDirectoryTest, ReadsBackWhatItWrote) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "a" / "run"));
  const v1::Run run = SampleRun();
  ASSERT_THAT(dir.WriteOrigin({"r-1", "/data/paintings", ""}), IsOk());
  ASSERT_THAT(dir.WriteResults(run), IsOk());
  ASSERT_OK_AND_ASSIGN(const RunDirectory again, RunDirectory::Open(dir.path()));
  ASSERT_OK_AND_ASSIGN(const v1::Run read, again.ReadRun());
  EXPECT_TRUE(MessageDifferencer::Equals(run, read));
  ASSERT_OK_AND_ASSIGN(const v1::EnsembleVersion ensemble, again.ReadEnsemble());
  EXPECT_TRUE(MessageDifferencer::Equals(run.ensemble(), ensemble));
  ASSERT_OK_AND_ASSIGN(const RunOrigin origin, again.ReadOrigin());
  EXPECT_EQ(origin.run_id, "r-1");
  EXPECT_EQ(origin.data, "/data/paintings");
}

TEST(RunDirectoryTest, CanBeMoved) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  ASSERT_THAT(dir.WriteResults(SampleRun()), IsOk());
  std::filesystem::rename(dir.path(), temp.path() / "moved");
  ASSERT_OK_AND_ASSIGN(const RunDirectory moved, RunDirectory::Open(temp.path() / "moved"));
  EXPECT_THAT(moved.ReadEnsemble(), IsOk());
}

TEST(RunDirectoryTest, RefusesAFolderWithOtherThings) {
  const testing::TempDir temp;
  std::ofstream(temp.path() / "precious.txt") << "mine";
  EXPECT_THAT(RunDirectory::Create(temp.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--out")));
}

TEST(RunDirectoryTest, PointsToResumeForAnUnfinishedRun) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  ASSERT_THAT(dir.WriteOrigin({"r-1", "/data", ""}), IsOk());
  EXPECT_THAT(RunDirectory::Create(dir.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("atelier runs resume ")));
  EXPECT_THAT(dir.ReadEnsemble(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("atelier runs resume ")));
}

TEST(RunDirectoryTest, IsNotAnyFolder) {
  const testing::TempDir temp;
  EXPECT_THAT(RunDirectory::Open(temp.path()), StatusIs(absl::StatusCode::kNotFound));
}

TEST(RunDirectoryTest, OneProcessTrainsIntoIt) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  ASSERT_OK_AND_ASSIGN(const auto lock, dir.Lock());
  EXPECT_THAT(dir.Lock(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// Of two that found the folder empty, the slower one must not remove it under the faster one.
TEST(RunDirectoryTest, IsRemovedUnusedOnlyWhenNobodyIsAtItAndNoRunBegan) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  ASSERT_THAT(dir.WriteOrigin({"", "/data", ""}), IsOk());
  {
    ASSERT_OK_AND_ASSIGN(const auto lock, dir.Lock());
    dir.RemoveIfUnused();
    EXPECT_TRUE(RunDirectory::IsRunDirectory(dir.path()));
  }
  ASSERT_THAT(dir.WriteOrigin({"r-1", "/data", ""}), IsOk());
  dir.RemoveIfUnused();
  EXPECT_TRUE(RunDirectory::IsRunDirectory(dir.path()));
  ASSERT_THAT(dir.WriteOrigin({"", "/data", ""}), IsOk());
  dir.RemoveIfUnused();
  EXPECT_FALSE(std::filesystem::exists(dir.path()));
}

TEST(RunDirectoryTest, QuotesHostileNamesInTheQuarantineList) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  ASSERT_THAT(dir.WriteResults(SampleRun()), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::string csv, ReadFile(dir.path() / "quarantine.csv"));
  EXPECT_EQ(csv, "file,reason\n\"=cmd,\"\"x\"\".jpg\",not a picture\n");
}

TEST(RunDirectoryTest, KeepsARecipeThatCanBeUsedElsewhere) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  v1::Run run = SampleRun();
  run.mutable_plan()->set_name("paintings");
  run.mutable_plan()->set_dataset_digest("d");
  for (const char* name : {"a", "b"}) run.mutable_plan()->add_classes(name);
  run.mutable_plan()->mutable_members(0)->set_initial_weights_digest("w");
  ASSERT_THAT(dir.WriteResults(run), IsOk());
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, LoadRecipe((dir.path() / "recipe.yaml").string()));
  EXPECT_EQ(plan.members_size(), 2);
  EXPECT_EQ(plan.dataset(), "");
  EXPECT_EQ(plan.dataset_digest(), "");
  EXPECT_EQ(plan.name(), "");
  EXPECT_EQ(plan.classes_size(), 0);
  EXPECT_EQ(plan.members(0).initial_weights_digest(), "");
}

TEST(RunDirectoryTest, KeepsAnOrderOfClassesThatSomebodyChose) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  v1::Run run = SampleRun();
  for (const char* name : {"b", "a"}) run.mutable_plan()->add_classes(name);
  ASSERT_THAT(dir.WriteResults(run), IsOk());
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, LoadRecipe((dir.path() / "recipe.yaml").string()));
  EXPECT_THAT(plan.classes(), ::testing::ElementsAre("b", "a"));
}

TEST(SubmissionCsvTest, HasTheContestsHeaderAndOneRowPerPicture) {
  const ensemble::Probabilities p{3, 2, {0.2F, 0.8F, 0.9F, 0.1F, 0.5F, 0.5F}};
  EXPECT_EQ(SubmissionCsv(p), ",answer value\n0,1\n1,0\n2,0\n");
}

TEST(HistoryCsvTest, HasOneRowPerStageAndEpochOfTheMember) {
  EXPECT_EQ(HistoryCsv(SampleRun(), "lite"),
            "stage,epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,images\n"
            "train,0,1,0,0,0.5,0,0,0\n"
            "train,1,0.75,0,0,0.75,0,0,0\n");
}

}  // namespace
}  // namespace atelier::cli
