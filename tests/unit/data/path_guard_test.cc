#include "services/data/path_guard.h"

#include <fstream>

#include "tests/testing/as_nobody.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ResolveBelow, FindsFoldersAndRefusesEveryWayOut) {
  testing::TempDir dir;
  const auto root = std::filesystem::canonical(dir.path());
  std::filesystem::create_directories(root / "a" / "b");
  std::filesystem::create_symlink("/etc", root / "out");
  EXPECT_THAT(ResolveBelow(root, "."), IsOkAndHolds(root));
  EXPECT_THAT(ResolveBelow(root, ""), IsOkAndHolds(root));
  EXPECT_THAT(ResolveBelow(root, "a/b"), IsOkAndHolds(root / "a" / "b"));
  for (const std::string bad : {"/etc", "../x", "a/../../x", "a\\b", "%2e%2e/x", "out"}) {
    EXPECT_THAT(ResolveBelow(root, bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
  EXPECT_THAT(ResolveBelow(root, std::string("a\0b", 3)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ResolveBelow(root, std::string(2000, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ResolveBelow(root, std::string(256, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ResolveBelow(root, std::string(255, 'a')), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ResolveBelow(root, "none"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(IsBelow, FollowsLinksToFilesThatAreThere) {
  namespace fs = std::filesystem;
  testing::TempDir dir;
  const fs::path root = fs::canonical(dir.path());
  fs::create_directory(root / "a");
  fs::create_directory_symlink("a", root / "in");
  fs::create_directory_symlink("/etc", root / "out");
  fs::create_symlink("loop", root / "loop");
  std::ofstream(root / "file") << "x";
  for (const char* yes : {"a", "in", "file", "."}) {
    EXPECT_THAT(IsBelow(root, root / yes), IsOkAndHolds(true)) << yes;
  }
  for (const char* no : {"out", "..", "none", "none/a", "file/a", "loop", "loop/a"}) {
    EXPECT_THAT(IsBelow(root, root / no), IsOkAndHolds(false)) << no;
  }
}

// What cannot be told for now is not said to be missing.
TEST(PathGuard, WhatCannotBeLookedAtIsNotMissing) {
  namespace fs = std::filesystem;
  testing::TempDir dir;
  const fs::path root = fs::canonical(dir.path());
  fs::create_directories(root / "closed" / "a");
  fs::permissions(root / "closed", fs::perms::none);
  {
    const testing::AsNobody nobody(root);
    EXPECT_THAT(IsBelow(root, root / "closed" / "a"),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("looking for a:")));
    EXPECT_THAT(ResolveBelow(root, "closed/a"),
                StatusIs(absl::StatusCode::kPermissionDenied,
                         AllOf(HasSubstr("dataset a:"), Not(HasSubstr(root.string())))));
  }
  fs::permissions(root / "closed", fs::perms::owner_all);
  EXPECT_THAT(IsBelow(root, root / "closed" / "a"), IsOkAndHolds(true));
}

}  // namespace
}  // namespace atelier::data
