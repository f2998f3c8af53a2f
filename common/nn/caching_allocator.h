// Keeps the memory of freed tensors for the next ones. A training step frees and allocates the same
// gigabyte of feature maps; given back to the kernel, every page of it is faulted in and cleared
// anew, a fifth of a float32 step. No torch here.
#pragma once

#include <cstdint>

namespace atelier::nn {

// From now on LibTorch's CPU tensors come from a cache of at most a quarter of the machine's
// memory or 4 GiB. Idempotent, thread-safe; the first training forward calls it, so a process that
// only serves keeps LibTorch's allocator.
void InstallCachingAllocator();

// Gives everything cached back to the system: at the end of a task.
void ReleaseCachedMemory();

// Bytes held for later; 0 when not installed.
uint64_t CachedBytes();

}  // namespace atelier::nn
