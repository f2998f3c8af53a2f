#include "services/data/layout.h"

#include "tests/testing/as_nobody.h"
#include "tests/testing/no_descriptors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FindLayoutTest : public ::testing::Test {
 protected:
  absl::StatusOr<FoundLayout> Find(bool unlabeled_ok = false) {
    return FindLayout(root_, root_, unlabeled_ok);
  }
  testing::TempDir dir_;
  const std::filesystem::path root_ = std::filesystem::canonical(dir_.path());
};

TEST_F(FindLayoutTest, FoldersOfClasses) {
  WriteClasses(dir_.path(), 1);
  Write(dir_.path() / "cat" / ".hidden.png", "x");
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.layout, v1::CLASS_FOLDERS);
  EXPECT_THAT(found.class_names, ElementsAre("cat", "dog"));
  ASSERT_EQ(found.files.size(), 2U);
  EXPECT_EQ(found.files[0].file, "cat/0.png");
}

TEST_F(FindLayoutTest, TrainAndTest) {
  WriteClasses(dir_.path() / "train", 1);
  Write(dir_.path() / "test" / "1.png", Png(9));
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.layout, v1::TRAIN_TEST);
  ASSERT_EQ(found.files.size(), 3U);
  EXPECT_TRUE(found.files[0].test);
  EXPECT_EQ(found.files[0].file, "test/1.png");
}

TEST_F(FindLayoutTest, AClassMayBeCalledTrain) {
  int seed = 0;
  for (const char* name : {"bus", "plane", "train"}) {
    Write(dir_.path() / name / "1.png", Png(seed++));
  }
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.layout, v1::CLASS_FOLDERS);
  EXPECT_THAT(found.class_names, ElementsAre("bus", "plane", "train"));
  EXPECT_EQ(found.files.size(), 3U);
}

TEST_F(FindLayoutTest, TrainAndTestWithoutClassesAreNoClasses) {
  Write(dir_.path() / "train" / "1.png", Png(1));
  Write(dir_.path() / "test" / "2.png", Png(2));
  EXPECT_THAT(Find(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("train/<class>/")));
  ASSERT_OK_AND_ASSIGN(const FoundLayout unlabeled, Find(true));
  EXPECT_EQ(unlabeled.files.size(), 2U);
  // A table may say what their classes are.
  Write(dir_.path() / "labels.csv", "filename,category\ntrain/1.png,cat\ntest/2.png,\n");
  ASSERT_OK_AND_ASSIGN(const FoundLayout table, Find());
  EXPECT_EQ(table.layout, v1::CSV_FLAT);
  EXPECT_THAT(table.class_names, ElementsAre("cat"));
}

TEST_F(FindLayoutTest, ATableBesideThePictures) {
  Write(dir_.path() / "1.png", Png(1));
  Write(dir_.path() / "labels.csv", "filename,category\n1.png,cat\n");
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.layout, v1::CSV_FLAT);
  EXPECT_EQ(found.files[0].class_name, "cat");
  Write(dir_.path() / "labels.csv", "filename,category\n../1.png,cat\n");
  EXPECT_THAT(Find(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(FindLayoutTest, NamesThatBeginWithTheClass) {
  Write(dir_.path() / "dog_1.png", Png(1));
  Write(dir_.path() / "cat12.png", Png(2));
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.layout, v1::NAME_PREFIX);
  EXPECT_THAT(found.class_names, ElementsAre("cat", "dog"));
  ASSERT_OK_AND_ASSIGN(const FoundLayout unlabeled, Find(true));
  EXPECT_EQ(unlabeled.layout, v1::UNLABELED);
}

TEST_F(FindLayoutTest, NothingRecognisedSaysWhatWouldBe) {
  Write(dir_.path() / "picture.png", Png(1));
  EXPECT_THAT(Find(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("train/<class>/")));
}

// A class that is not read would be a model that never heard of it.
TEST_F(FindLayoutTest, AFolderThatCannotBeListedIsAnErrorNotFewerPictures) {
  WriteClasses(dir_.path(), 1);
  Write(dir_.path() / "cat" / "more" / "1.png", Png(9));
  std::filesystem::permissions(dir_.path() / "cat" / "more", std::filesystem::perms::none);
  {
    const testing::AsNobody nobody(dir_.path());
    EXPECT_THAT(Find(), StatusIs(absl::StatusCode::kPermissionDenied,
                                 AllOf(HasSubstr("folder more"), HasSubstr("read it"))));
  }
  std::filesystem::permissions(dir_.path() / "cat" / "more", std::filesystem::perms::owner_all);
  absl::Status refused;
  {
    const testing::NoDescriptors none;
    refused = Find().status();
  }
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("open files")));
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.files.size(), 3U);
}

// Examined by name, and quarantined there.
TEST_F(FindLayoutTest, ALinkToNothingIsAFile) {
  WriteClasses(dir_.path(), 1);
  std::filesystem::create_symlink("moved.png", dir_.path() / "cat" / "link.png");
  std::filesystem::create_symlink("loop.png", dir_.path() / "cat" / "loop.png");
  ASSERT_OK_AND_ASSIGN(const FoundLayout found, Find());
  EXPECT_EQ(found.files.size(), 4U);
}

}  // namespace
}  // namespace atelier::data
