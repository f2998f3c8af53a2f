// A process that runs out of memory. Not for sanitizers, whose shadows take terabytes.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace atelier::testing {

// The process's addresses are limited to those it has and `more_bytes` while this lives.
class LittleMemory {
 public:
  explicit LittleMemory(rlim_t more_bytes) {
    rlim_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + more_bytes;
    setrlimit(RLIMIT_AS, &limit);
  }
  ~LittleMemory() { setrlimit(RLIMIT_AS, &before_); }
  LittleMemory(const LittleMemory&) = delete;
  LittleMemory& operator=(const LittleMemory&) = delete;

 private:
  rlimit before_{};
};

}  // namespace atelier::testing
