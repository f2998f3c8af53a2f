#include "services/cli/weights/mirrors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;

TEST(Mirrors, AreFoldersOrUrls) {
  testing::TempDir dir;
  ASSERT_OK_AND_ASSIGN(const Mirror url, ParseMirror("https://host/weights//"));
  EXPECT_EQ(url.url, "https://host/weights");
  EXPECT_TRUE(url.folder.empty());
  ASSERT_OK_AND_ASSIGN(const Mirror folder, ParseMirror(dir.path()));
  EXPECT_EQ(folder.folder, dir.path());
  ASSERT_OK_AND_ASSIGN(const Mirror file_url, ParseMirror("file://" + dir.path().string()));
  EXPECT_EQ(file_url.folder, dir.path());
  for (const std::string& bad : {std::string("ftp://host/x"), (dir.path() / "absent").string()}) {
    EXPECT_THAT(ParseMirror(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
}

TEST(Mirrors, TheEnvironmentNamesSeveral) {
  EXPECT_THAT(MirrorsFromEnvironment(), ElementsAre());
  ::setenv("ATELIER_WEIGHTS_MIRRORS", "/a,,http://b/c", 1);
  const auto mirrors = MirrorsFromEnvironment();
  ::unsetenv("ATELIER_WEIGHTS_MIRRORS");
  EXPECT_THAT(mirrors, ElementsAre("/a", "http://b/c"));
}

TEST(Offline, OnlyAClearNoAllowsTheNetwork) {
  EXPECT_FALSE(OfflineFromEnvironment());
  for (const char* value : {"1", "true", "yes", "0", "False", "no", ""}) {
    ::setenv("ATELIER_OFFLINE", value, 1);
    const bool offline = OfflineFromEnvironment();
    ::unsetenv("ATELIER_OFFLINE");
    const std::string text = value;
    EXPECT_EQ(offline, text == "1" || text == "true" || text == "yes") << value;
  }
}

}  // namespace
}  // namespace atelier::cli
