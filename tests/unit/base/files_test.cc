#include "common/base/files.h"

#include <fstream>

#include "tests/testing/no_descriptors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::NoDescriptors;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TempDir;

int FilesIn(const std::filesystem::path& dir) {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator(dir), {}));
}

TEST(WriteFileAtomically, ReplacesTheWholeFileAndLeavesNothingElse) {
  TempDir dir;
  const auto path = dir.path() / "a.txt";
  EXPECT_THAT(WriteFileAtomically(path, "first, and longer"), IsOk());
  EXPECT_THAT(WriteFileAtomically(path, "second"), IsOk());
  EXPECT_THAT(ReadFile(path), IsOkAndHolds("second"));
  EXPECT_EQ(FilesIn(dir.path()), 1);
}

TEST(WriteFileAtomically, NamesAMissingFolder) {
  TempDir dir;
  EXPECT_THAT(WriteFileAtomically(dir.path() / "no" / "a.txt", "x"),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST(AtomicFileWriter, WithoutCommitNothingAppears) {
  TempDir dir;
  {
    ASSERT_OK_AND_ASSIGN(auto writer, AtomicFileWriter::Create(dir.path() / "a"));
    EXPECT_THAT(writer->Append("half"), IsOk());
  }
  EXPECT_EQ(FilesIn(dir.path()), 0);
}

// In a container every process has the same id.
TEST(AtomicFileWriter, WhatAKilledProcessOfTheSameIdLeftIsInNobodysWay) {
  TempDir dir;
  const auto path = dir.path() / "a";
  std::string temp;
  {
    ASSERT_OK_AND_ASSIGN(auto writer, AtomicFileWriter::Create(path));
    temp = std::filesystem::directory_iterator(dir.path())->path().string();
  }
  const size_t number = temp.rfind('.') + 1;
  for (const int next : {1, 2}) {
    std::ofstream(temp.substr(0, number) + std::to_string(std::stoi(temp.substr(number)) + next))
        << "left";
  }
  ASSERT_EQ(FilesIn(dir.path()), 2);
  EXPECT_THAT(WriteFileAtomically(path, "whole"), IsOk());
  EXPECT_THAT(ReadFile(path), IsOkAndHolds("whole"));
  EXPECT_EQ(FilesIn(dir.path()), 3) << "it may be another's";
}

TEST(AtomicFileWriter, CommitAsChoosesTheNameAtTheEnd) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto writer, AtomicFileWriter::Create(dir.path() / "upload"));
  EXPECT_THAT(writer->Append("bytes"), IsOk());
  EXPECT_THAT(writer->CommitAs(dir.path() / "digest"), IsOk());
  EXPECT_THAT(ReadFile(dir.path() / "digest"), IsOkAndHolds("bytes"));
  EXPECT_THAT(writer->Commit(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(FilesIn(dir.path()), 1);
}

TEST(AtomicFileWriter, SyncedItHasItsBytesAndNoNameYet) {
  TempDir dir;
  const auto path = dir.path() / "a";
  {
    ASSERT_OK_AND_ASSIGN(auto dropped, AtomicFileWriter::Create(path));
    ASSERT_THAT(dropped->Append("x"), IsOk());
    ASSERT_THAT(dropped->Sync(), IsOk());
  }
  EXPECT_EQ(FilesIn(dir.path()), 0);
  ASSERT_OK_AND_ASSIGN(auto writer, AtomicFileWriter::Create(path));
  ASSERT_THAT(writer->Append("bytes"), IsOk());
  ASSERT_THAT(writer->Sync(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(writer->Append("more"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(writer->Commit(), IsOk());
  EXPECT_THAT(ReadFile(path), IsOkAndHolds("bytes"));
  EXPECT_EQ(FilesIn(dir.path()), 1);
}

TEST(ReadFile, RefusesTooMuchAndWhatIsNoFile) {
  TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir.path() / "a", "12345"), IsOk());
  EXPECT_THAT(ReadFile(dir.path() / "a", 5), IsOkAndHolds("12345"));
  EXPECT_THAT(ReadFile(dir.path() / "a", 4), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(ReadFile(dir.path() / "none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadFile(dir.path()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(MakeDirectories, MakesWhatIsMissing) {
  TempDir dir;
  const auto deep = dir.path() / "a" / "b" / "c";
  for (int time = 0; time < 2; ++time) {
    EXPECT_THAT(MakeDirectories(deep), IsOk()) << time;
    EXPECT_TRUE(std::filesystem::is_directory(deep));
  }
  EXPECT_THAT(MakeDirectories(dir.path() / "x" / "." / ".." / "y" / ""), IsOk());
  EXPECT_TRUE(std::filesystem::is_directory(dir.path() / "y"));
  EXPECT_THAT(MakeDirectories(""), StatusIs(absl::StatusCode::kNotFound));
}

TEST(MakeDirectories, AFileIsInTheWay) {
  TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir.path() / "a", "x"), IsOk());
  EXPECT_THAT(MakeDirectories(dir.path() / "a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(MakeDirectories(dir.path() / "a" / "b"), StatusIs(absl::StatusCode::kNotFound));
}

// Its parent cannot be opened to be synced.
TEST(MakeDirectories, WhatIsNotDurableIsNotThere) {
  TempDir dir;
  ASSERT_THAT(MakeDirectories(dir.path() / "a"), IsOk());
  absl::Status there;
  absl::Status refused;
  {
    const NoDescriptors none;
    there = MakeDirectories(dir.path() / "a");
    refused = MakeDirectories(dir.path() / "a" / "b" / "c");
  }
  EXPECT_THAT(there, IsOk());
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(FilesIn(dir.path() / "a"), 0);
  EXPECT_THAT(MakeDirectories(dir.path() / "a" / "b" / "c"), IsOk());
}

TEST(IsSafeName, FollowsTheRule) {
  for (const char* good : {"a", "run-1", "0.x_y", "A"}) EXPECT_TRUE(IsSafeName(good)) << good;
  for (const char* bad : {"", ".", "..", "../x", "/etc/x", "-a", "a/b", "a\\b", "a b", "%2e%2e"}) {
    EXPECT_FALSE(IsSafeName(bad)) << bad;
  }
  EXPECT_TRUE(IsSafeName(std::string(64, 'a')));
  EXPECT_FALSE(IsSafeName(std::string(65, 'a')));
  EXPECT_FALSE(IsSafeName(std::string_view("a\0b", 3)));
}

TEST(DirectoryLock, IsHeldByOneAtATime) {
  TempDir dir;
  {
    EXPECT_FALSE(DirectoryLock::Held(dir.path()));
    ASSERT_OK_AND_ASSIGN(auto lock, DirectoryLock::Acquire(dir.path()));
    EXPECT_TRUE(DirectoryLock::Held(dir.path()));
    EXPECT_THAT(DirectoryLock::Acquire(dir.path()),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  EXPECT_FALSE(DirectoryLock::Held(dir.path()));
  EXPECT_THAT(DirectoryLock::Acquire(dir.path()), IsOk());
}

}  // namespace
}  // namespace atelier
