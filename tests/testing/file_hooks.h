// What happens between the system calls that make a file durable: a hook runs before the next fsync
// or rename of the process, and may let it fail. For one source file of an executable, whose fsync
// and rename this defines.
#pragma once

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <utility>

#include "common/concurrency/mutex.h"

namespace atelier::testing {

enum class FileCall { kSyncFile, kSyncFolder, kRename };

// Returns the errno that the call fails with; 0: it is made.
using FileHook = std::function<int()>;

inline Mutex file_hook_mutex;
inline FileCall file_hook_call ABSL_GUARDED_BY(file_hook_mutex);
inline FileHook file_hook ABSL_GUARDED_BY(file_hook_mutex);

// Before the next `call`, once; none: disarmed. The hook may make such calls itself.
inline void BeforeNext(FileCall call, FileHook hook) {
  MutexLock lock(file_hook_mutex);
  file_hook_call = call;
  file_hook = std::move(hook);
}

inline bool RunFileHook(FileCall call) {
  FileHook hook;
  {
    MutexLock lock(file_hook_mutex);
    if (file_hook == nullptr || file_hook_call != call) return true;
    hook = std::exchange(file_hook, nullptr);
  }
  const int error = hook();
  errno = error;
  return error == 0;
}

}  // namespace atelier::testing

extern "C" {

// NOLINTBEGIN(misc-definitions-in-headers)
int fsync(int fd) {
  using atelier::testing::FileCall;
  struct stat info{};
  const bool folder = ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
  if (!atelier::testing::RunFileHook(folder ? FileCall::kSyncFolder : FileCall::kSyncFile)) {
    return -1;
  }
  static const auto real = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "fsync"));
  return real(fd);
}

int rename(const char* from, const char* to) noexcept {
  if (!atelier::testing::RunFileHook(atelier::testing::FileCall::kRename)) return -1;
  static const auto real =
      reinterpret_cast<int (*)(const char*, const char*)>(::dlsym(RTLD_NEXT, "rename"));
  return real(from, to);
}
// NOLINTEND(misc-definitions-in-headers)
}
