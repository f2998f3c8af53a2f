// The converter's fence: what it never needs, it gives up before it reads.
#pragma once

#include <filesystem>
#include <vector>

#include "absl/status/status.h"

namespace atelier::convert {

// Not under the sanitizers, which need other calls (a leak check: threads and ptrace).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kConfines = false;
#else
inline constexpr bool kConfines = true;
#endif

// Leaves this process, until it ends, only what reading and writing files takes: a hostile file
// that makes a library run its code (Debian 12's libhdf5 has faults of memory that we cannot mend)
// gains a process that can do little. Every other system call is answered with ENOSYS: no program
// or process or thread begins, no socket, no ptrace, no signal to others, no memory becomes code,
// no mode or owner of a file changes (seccomp, by an allow-list). And where the kernel has Landlock
// (5.13 and newer, unless it is switched off), files are written, made, renamed and removed in
// `writable` folders and below alone; elsewhere it is the user's rights that limit it. Reading
// stays as it is: nothing that was read can leave but by the output and the standard streams. Call
// before the first byte is read, in a process of one thread, once. A folder that is not there is
// left out. FailedPrecondition: the kernel or the container takes no filter; the process may be
// half confined then. Does nothing when kConfines is false.
absl::Status Confine(const std::vector<std::filesystem::path>& writable);

}  // namespace atelier::convert
