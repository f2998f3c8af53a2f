// libgomp's threads spin between parallel regions: two training processes on two cores take 10 to
// 50 times as long unless GOMP_SPINCOUNT is small, and libgomp reads it when it is loaded.
#pragma once

#include <unistd.h>

#include <cstdlib>

namespace atelier::nn {

// First thing in main: sets GOMP_SPINCOUNT=1000 and starts the program anew, unless the variable is
// set already. Returns when there is nothing to do, or the restart is not possible.
inline void EnsureCalmOpenMp(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/1);
  ::execv("/proc/self/exe", argv);
}

}  // namespace atelier::nn
