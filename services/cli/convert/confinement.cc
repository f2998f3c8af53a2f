#include "services/cli/convert/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::convert {
namespace {

// Reading, unpacking and writing files, and what the C library does by itself. Whatever is missing
// is answered as by a kernel that is too old for it, so that libraries fall back to what there is.
constexpr const char* kAllowed[] = {
    // memory
    "brk", "madvise", "mremap", "munmap",
    // open files
    "close", "dup", "fadvise64", "fallocate", "fcntl", "fdatasync", "flock", "fstat", "fsync",
    "ftruncate", "getdents64", "lseek", "pread64", "preadv", "pwrite64", "pwritev", "read", "readv",
    "write", "writev",
    // files by name
    "access", "faccessat", "faccessat2", "getcwd", "lstat", "newfstatat", "readlink", "readlinkat",
    "rename", "renameat", "renameat2", "stat", "statx", "umask", "unlink", "unlinkat",
    // this process
    "clock_gettime", "clock_nanosleep", "exit", "exit_group", "futex", "getegid", "geteuid",
    "getgid", "getpid", "getrandom", "getrusage", "gettid", "gettimeofday", "getuid", "nanosleep",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sched_getaffinity", "sched_yield", "set_robust_list", "sigaltstack", "sysinfo", "time",
    "uname"};

// Allowed while argument & mask == value.
struct Condition {
  const char* call;
  unsigned argument;
  uint64_t mask;
  uint64_t value;
};

constexpr uint64_t kInt = 0xffffffff;  // what the kernel takes of an argument of type int

// Several for one call: any of them.
std::vector<Condition> Conditions() {
  return {
      {"mmap", 2, PROT_EXEC, 0},
      {"mprotect", 2, PROT_EXEC, 0},
      // O_TRUNC with O_RDONLY truncates too, and before Linux 6.2 Landlock takes it for reading.
      {"open", 1, O_TRUNC, 0},
      {"open", 1, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDWR},
      {"open", 1, O_TRUNC | O_ACCMODE, O_TRUNC | O_WRONLY},
      {"openat", 2, O_TRUNC, 0},
      {"openat", 2, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDWR},
      {"openat", 2, O_TRUNC | O_ACCMODE, O_TRUNC | O_WRONLY},
      {"ioctl", 1, kInt, TCGETS},         // whether it is a terminal; typing into it is another
      {"prlimit64", 2, ~uint64_t{0}, 0},  // asked, not set
      {"tgkill", 0, kInt, static_cast<uint64_t>(::getpid())},  // abort
  };
}

// 0, or a negative errno as libseccomp's functions give.
int Allow(scmp_filter_ctx filter, const char* call, const scmp_arg_cmp* condition) {
  const int number = seccomp_syscall_resolve_name(call);
  if (number < 0) return 0;  // another processor's
  return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, condition == nullptr ? 0 : 1,
                                condition);
}

int FillAndLoad(scmp_filter_ctx filter) {
  // The kernel's own errors, for the message.
  int error = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
  for (const char* call : kAllowed) {
    if (error == 0) error = Allow(filter, call, nullptr);
  }
  for (const Condition& c : Conditions()) {
    const scmp_arg_cmp condition{c.argument, SCMP_CMP_MASKED_EQ, c.mask, c.value};
    if (error == 0) error = Allow(filter, c.call, &condition);
  }
  return error == 0 ? seccomp_load(filter) : error;
}

absl::Status FilterCalls() {
  const std::unique_ptr<void, decltype(&seccomp_release)> filter(
      seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), &seccomp_release);
  const int error = filter == nullptr ? -ENOMEM : FillAndLoad(filter.get());
  if (error == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "this system takes no filter of system calls (seccomp: ", std::strerror(-error), ")"));
}

// An open file or a kernel object; -1: none.
class Descriptor {
 public:
  explicit Descriptor(long fd) : fd_(static_cast<int>(fd)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status LandlockFailed() {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot limit where files are written (Landlock: ", std::strerror(errno), ")"));
}

absl::Status LimitWriting(const std::vector<std::filesystem::path>& writable) {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return absl::OkStatus();
  uint64_t writing =
      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
  constexpr uint64_t kTruncate = 1 << 14;  // later than Debian 12's headers
  if (version >= 3) writing |= kTruncate;
  landlock_ruleset_attr rules{};
  rules.handled_access_fs = writing | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                            LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                            LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |
                            LANDLOCK_ACCESS_FS_REMOVE_DIR;
  const Descriptor ruleset(::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
  if (ruleset.get() < 0) return LandlockFailed();
  for (const std::filesystem::path& path : writable) {
    const Descriptor folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0) continue;
    landlock_path_beneath_attr beneath{};
    beneath.allowed_access = writing;
    beneath.parent_fd = folder.get();
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) !=
        0) {
      return LandlockFailed();
    }
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return LandlockFailed();
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Confine(const std::vector<std::filesystem::path>& writable) {
  if (!kConfines) return absl::OkStatus();
  ATELIER_RETURN_IF_ERROR(LimitWriting(writable));
  return FilterCalls();
}

}  // namespace atelier::convert
