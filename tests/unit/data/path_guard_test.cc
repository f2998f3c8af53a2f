#include "services/data/path_guard.h"

#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;

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

}  // namespace
}  // namespace atelier::data
