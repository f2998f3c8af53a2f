// The n-th allocation of a thread fails, whoever makes it: operator new, libjpeg, libwebp, OpenCV.
// For one source file of an executable, whose malloc this defines. Not for sanitizers, which define
// their own.
#pragma once

#include <malloc.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

namespace atelier::testing {

inline constinit thread_local int allocations_to_failure = 0;  // 0: none fails
inline constinit thread_local size_t least_that_fails = 0;

// While this lives, this thread's `n`-th allocation of `least` bytes or more fails, and no other.
// n >= 1.
class FailingMalloc {
 public:
  explicit FailingMalloc(int n, size_t least = 0) {
    least_that_fails = least;
    allocations_to_failure = n;
  }
  ~FailingMalloc() { allocations_to_failure = 0; }
  FailingMalloc(const FailingMalloc&) = delete;
  FailingMalloc& operator=(const FailingMalloc&) = delete;

  // Whether there were so many.
  bool failed() const { return allocations_to_failure == 0; }
};

inline bool ThisAllocationFails(size_t size) {
  if (allocations_to_failure == 0 || size < least_that_fails) return false;
  if (--allocations_to_failure > 0) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace atelier::testing

extern "C" {

// glibc's, under its other names.
void* __libc_malloc(size_t size);                      // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(size_t n, size_t size);            // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void* old, size_t size);          // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(size_t alignment, size_t size);  // NOLINT(bugprone-reserved-identifier)

// NOLINTBEGIN(misc-definitions-in-headers)
void* malloc(size_t size) noexcept {
  return atelier::testing::ThisAllocationFails(size) ? nullptr : __libc_malloc(size);
}

void* calloc(size_t n, size_t size) noexcept {
  return atelier::testing::ThisAllocationFails(n * size) ? nullptr : __libc_calloc(n, size);
}

void* realloc(void* old, size_t size) noexcept {
  return atelier::testing::ThisAllocationFails(size) ? nullptr : __libc_realloc(old, size);
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return atelier::testing::ThisAllocationFails(size) ? nullptr : __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) noexcept {
  if (atelier::testing::ThisAllocationFails(size)) return ENOMEM;
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
// NOLINTEND(misc-definitions-in-headers)
}
