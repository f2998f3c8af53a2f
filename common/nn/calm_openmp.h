// libgomp's threads spin between parallel regions: two training processes on two cores take 10 to
// 50 times as long unless GOMP_SPINCOUNT is small, and libgomp reads it when it is loaded. With
// 3000 one process is 3 % faster than with 1000, and two are as fast; 10000 costs two of them a
// tenth.
#pragma once

#include <unistd.h>

#include <cstdlib>

namespace atelier::nn {

// First thing in main: sets GOMP_SPINCOUNT=3000 and starts the program anew, unless the variable is
// set already. Returns when there is nothing to do, or the restart is not possible.
inline void EnsureCalmOpenMp(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "3000", /*overwrite=*/1);
  ::execv("/proc/self/exe", argv);
}

}  // namespace atelier::nn
