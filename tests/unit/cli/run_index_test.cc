#include "services/cli/run_index.h"

#include <gmock/gmock.h>

#include "services/cli/run_directory.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/cli/sample_run.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(RunIndexTest, NumbersVersionsWithinANameAndPromotesTheFirst) {
  const testing::TempDir home;
  RunIndex index(home.path() / "new");
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble first, index.AddEnsemble("a", "/r/1", "1", 10, false));
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble second,
                       index.AddEnsemble("a", "/r/2", "2", 20, false));
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble other, index.AddEnsemble("b", "/r/3", "3", 30, false));
  EXPECT_EQ(first.version, 1);
  EXPECT_TRUE(first.promoted);
  EXPECT_EQ(second.version, 2);
  EXPECT_FALSE(second.promoted);
  EXPECT_EQ(other.version, 1);
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble promoted, index.Find("a", 0));
  EXPECT_EQ(promoted.version, 1);
}

TEST(RunIndexTest, AddingTheSameRunAgainChangesNothing) {
  const testing::TempDir home;
  RunIndex index(home.path());
  ASSERT_THAT(index.AddEnsemble("a", "/r/1", "1", 10, false), IsOk());
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble again, index.AddEnsemble("a", "/r/1", "1", 10, false));
  EXPECT_EQ(again.version, 1);
  ASSERT_OK_AND_ASSIGN(const auto all, index.Ensembles());
  EXPECT_EQ(all.size(), 1U);
}

TEST(RunIndexTest, PromotesOnlyOneVersionOfAName) {
  const testing::TempDir home;
  RunIndex index(home.path());
  ASSERT_THAT(index.AddEnsemble("a", "/r/1", "1", 10, false), IsOk());
  ASSERT_THAT(index.AddEnsemble("a", "/r/2", "2", 20, true), IsOk());
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble newest, index.Find("a", 0));
  EXPECT_EQ(newest.version, 2);
  ASSERT_THAT(index.Promote("a", 1), IsOk());  // a roll-back
  ASSERT_OK_AND_ASSIGN(const IndexedEnsemble back, index.Find("a", 0));
  EXPECT_EQ(back.version, 1);
}

TEST(RunIndexTest, SaysWhatThereIsWhenANameIsUnknown) {
  const testing::TempDir home;
  RunIndex index(home.path());
  ASSERT_THAT(index.AddEnsemble("a", "/r/1", "1", 10, false), IsOk());
  EXPECT_THAT(index.Find("a", 7),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("a@7"), HasSubstr("a@1"))));
}

TEST(RunIndexTest, ListsRunsNewestFirstAndReplacesByPath) {
  const testing::TempDir home;
  RunIndex index(home.path());
  ASSERT_THAT(index.AddRun({"1", "a", "/r/1", 10}), IsOk());
  ASSERT_THAT(index.AddRun({"2", "a", "/r/2", 20}), IsOk());
  ASSERT_THAT(index.AddRun({"3", "a", "/r/1", 30}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto runs, index.Runs());
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].run_id, "3");
  EXPECT_EQ(runs[1].run_id, "2");
}

// The directory was removed and trained into again: its weights are not those of the old version.
TEST(ReadIndexedTest, ADirectoryThatIsAnotherRunsByNowIsGone) {
  const testing::TempDir temp;
  ASSERT_OK_AND_ASSIGN(const RunDirectory dir, RunDirectory::Create(temp.path() / "run"));
  v1::Run run = SampleRun();
  run.mutable_ensemble()->set_run_id("old");
  ASSERT_THAT(dir.WriteResults(run), IsOk());
  const IndexedEnsemble old_entry{"a", 1, dir.path(), "old", 10, true};
  ASSERT_OK_AND_ASSIGN(const v1::EnsembleVersion read, ReadIndexed(old_entry));
  EXPECT_EQ(read.run_id(), "old");

  run.mutable_ensemble()->set_run_id("new");
  ASSERT_THAT(dir.WriteResults(run), IsOk());
  EXPECT_THAT(ReadIndexed(old_entry),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("a@1"), HasSubstr("is gone"))));
  EXPECT_THAT(ReadIndexed({"a", 2, dir.path(), "new", 20, false}), IsOk());
  EXPECT_THAT(ReadIndexed({"a", 1, dir.path(), "", 10, true}), IsOk()) << "of no run in particular";

  std::filesystem::remove_all(dir.path());
  EXPECT_THAT(ReadIndexed(old_entry), StatusIs(absl::StatusCode::kNotFound, HasSubstr("is gone")));
}

TEST(ParseEnsembleNameTest, TakesNameAndVersion) {
  ASSERT_OK_AND_ASSIGN(const EnsembleName both, ParseEnsembleName("paintings@3"));
  EXPECT_EQ(both.name, "paintings");
  EXPECT_EQ(both.version, 3);
  ASSERT_OK_AND_ASSIGN(const EnsembleName name, ParseEnsembleName("paintings"));
  EXPECT_EQ(name.version, 0);
}

TEST(ParseEnsembleNameTest, RefusesPathsAndBadVersions) {
  for (const char* text : {"", "../x", "a/b", "a@", "a@0", "a@-1", "a@x", "@1"}) {
    EXPECT_THAT(ParseEnsembleName(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

}  // namespace
}  // namespace atelier::cli
