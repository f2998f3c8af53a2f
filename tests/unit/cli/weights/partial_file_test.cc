#include "services/cli/weights/partial_file.h"

#include <gtest/gtest.h>

#include "common/base/files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;

TEST(PartialFile, ALaterProcessGoesOn) {
  testing::TempDir dir;
  const fs::path target = dir.path() / "a.h5";
  {
    ASSERT_OK_AND_ASSIGN(const auto file, PartialFile::Open(target));
    ASSERT_THAT(file->Restart({"http://host/a.h5", "\"tag\""}), IsOk());
    ASSERT_THAT(file->Append("abc"), IsOk());
  }
  EXPECT_FALSE(fs::exists(target));
  ASSERT_OK_AND_ASSIGN(const auto file, PartialFile::Open(target));
  EXPECT_EQ(file->size(), 3);
  EXPECT_EQ(file->note().url, "http://host/a.h5");
  EXPECT_EQ(file->note().validator, "\"tag\"");
  ASSERT_THAT(file->Append("def"), IsOk());
  ASSERT_THAT(file->Commit(), IsOk());
  EXPECT_THAT(ReadFile(target), IsOkAndHolds("abcdef"));
  EXPECT_FALSE(fs::exists(dir.path() / "a.h5.partial"));
  EXPECT_FALSE(fs::exists(dir.path() / "a.h5.partial.json"));
}

TEST(PartialFile, RestartForgetsTheBytesAndADamagedNoteCountsAsNone) {
  testing::TempDir dir;
  const fs::path target = dir.path() / "a.h5";
  ASSERT_THAT(WriteFileAtomically(dir.path() / "a.h5.partial", "old bytes"), IsOk());
  ASSERT_THAT(WriteFileAtomically(dir.path() / "a.h5.partial.json", "{\"url\": 3}"), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto file, PartialFile::Open(target));
  EXPECT_EQ(file->size(), 9);
  EXPECT_EQ(file->note().url, "");
  ASSERT_THAT(file->Restart({}), IsOk());
  EXPECT_EQ(file->size(), 0);
  ASSERT_THAT(file->Append("new"), IsOk());
  ASSERT_THAT(file->Commit(), IsOk());
  EXPECT_THAT(ReadFile(target), IsOkAndHolds("new"));
}

}  // namespace
}  // namespace atelier::cli
