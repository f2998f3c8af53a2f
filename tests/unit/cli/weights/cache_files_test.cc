#include "services/cli/weights/cache_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "common/base/files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using ::atelier::testing::IsOk;
using ::testing::ElementsAre;

std::set<std::string> NamesIn(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

TEST(FetchLock, ASecondHolderSaysThatItWaitsAndThenHasIt) {
  testing::TempDir dir;
  const fs::path path = dir.path() / "x.lock";
  ASSERT_OK_AND_ASSIGN(auto first, FetchLock::Wait(path, [] { FAIL() << "nobody held it"; }));
  std::promise<void> waiting;
  auto second = std::async(std::launch::async, [&] {
    return FetchLock::Wait(path, [&] { waiting.set_value(); }).status();
  });
  waiting.get_future().wait();
  first.reset();
  EXPECT_THAT(second.get(), IsOk());
}

TEST(WorkFolder, KeepsDownloadsToGoOnWithAndNothingElse) {
  testing::TempDir dir;
  const fs::path path = dir.path() / "x.fetch";
  {
    ASSERT_OK_AND_ASSIGN(const auto folder, WorkFolder::Open(path, {"a.h5", "b.h5", "c.h5"}));
    for (const char* name : {"a.h5.partial", "a.h5.partial.json", "b.h5", "other.h5", "pip.tmp"}) {
      ASSERT_THAT(WriteFileAtomically(path / name, "bytes"), IsOk());
    }
    // Never reached: an empty partial file is no download.
    ASSERT_THAT(WriteFileAtomically(path / "c.h5.partial", ""), IsOk());
    ASSERT_THAT(WriteFileAtomically(path / "c.h5.partial.json", "{}"), IsOk());
  }
  EXPECT_THAT(NamesIn(path), ElementsAre("a.h5.partial", "a.h5.partial.json", "b.h5"));
  ASSERT_OK_AND_ASSIGN(auto folder, WorkFolder::Open(path, {"b.h5"}));
  EXPECT_THAT(NamesIn(path), ElementsAre("b.h5"));
  folder->Finish();
  folder.reset();
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace atelier::cli
