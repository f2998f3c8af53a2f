// Files as a user sees them who has no rights of root's.
#pragma once

#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <filesystem>

namespace atelier::testing {

// While this lives, the calling thread looks at files with the rights of "other" when the process
// is root's, and with its own when not: a folder without rights is closed in both. `shown` is
// opened for others first (a TempDir is its owner's alone).
class AsNobody {
 public:
  explicit AsNobody(const std::filesystem::path& shown) {
    using enum std::filesystem::perms;  // its group may be the process's own, root's
    std::filesystem::permissions(shown, group_read | group_exec | others_read | others_exec,
                                 std::filesystem::perm_options::add);
    if (geteuid() == 0) {
      setfsuid(kNobody);
      EXPECT_EQ(setfsuid(kNobody), kNobody);
    }
  }
  ~AsNobody() {
    if (geteuid() == 0) setfsuid(0);
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  static constexpr int kNobody = 65534;
};

}  // namespace atelier::testing
