// A process that has no free file descriptor.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace atelier::testing {

// While this lives nothing can be opened (EMFILE); what is open stays so. Expect things after it:
// UBSan needs a descriptor to look at a matcher, and takes it for no object without.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none = {.rlim_cur = 0, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace atelier::testing
