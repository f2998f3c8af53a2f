#include "common/nn/caching_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "common/concurrency/mutex.h"
#include "common/nn/torch_compat.h"

namespace atelier::nn {
namespace {

constexpr size_t kHeader = 64;             // keeps the data aligned for AVX-512
constexpr size_t kLeastCached = 64 << 10;  // malloc is good at smaller ones
constexpr size_t kHugePage = 2 << 20;
constexpr uint64_t kMostCached = uint64_t{4} << 30;

// A block is kHeader bytes, the first of which hold its capacity, and then the tensor's data.
size_t Capacity(const void* block) {
  size_t capacity = 0;
  std::memcpy(&capacity, block, sizeof(capacity));
  return capacity;
}

// Blocks nobody uses, by capacity. Thread-safe.
class BlockCache {
 public:
  void* Take(size_t n) {
    const MutexLock lock(mutex_);
    const auto fit = free_.lower_bound(n);
    // A block much too large stays for the tensor it fits.
    if (fit == free_.end() || fit->first > n + n / 4) return nullptr;
    void* const block = fit->second;
    cached_ -= fit->first;
    free_.erase(fit);
    return block;
  }
  // False when the cache is full: the caller frees the block.
  bool Give(void* block) {
    const size_t capacity = Capacity(block);
    const MutexLock lock(mutex_);
    if (cached_ + capacity > limit_) return false;
    free_.emplace(capacity, block);
    cached_ += capacity;
    return true;
  }
  void Release() {
    std::multimap<size_t, void*> blocks;
    {
      const MutexLock lock(mutex_);
      blocks.swap(free_);
      cached_ = 0;
    }
    for (const auto& [capacity, block] : blocks) std::free(block);
  }
  uint64_t cached() const {
    const MutexLock lock(mutex_);
    return cached_;
  }

 private:
  static uint64_t Limit() {
    const auto pages = static_cast<uint64_t>(std::max<long>(0, ::sysconf(_SC_PHYS_PAGES)));
    return std::min(kMostCached, pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) / 4);
  }
  const uint64_t limit_ = Limit();
  mutable Mutex mutex_;
  std::multimap<size_t, void*> free_ ABSL_GUARDED_BY(mutex_);
  uint64_t cached_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Lives for ever: tensors may outlive every other static.
BlockCache& Cache() {
  static auto* const cache = new BlockCache;
  return *cache;
}

void* NewBlock(size_t n) {
  const bool huge = n >= kHugePage;
  void* block = nullptr;
  if (::posix_memalign(&block, huge ? kHugePage : kHeader, n + kHeader) != 0) {
    Cache().Release();
    if (::posix_memalign(&block, kHeader, n + kHeader) != 0) throw std::bad_alloc();
  }
  if (huge) ::madvise(block, n + kHeader, MADV_HUGEPAGE);
  std::memcpy(block, &n, sizeof(n));
  return block;
}

void FreeData(void* data) {
  if (data == nullptr) return;
  void* const block = static_cast<char*>(data) - kHeader;
  if (Capacity(block) < kLeastCached || !Cache().Give(block)) std::free(block);
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) ATELIER_TORCH_ALLOCATE_CONST override {
    if (n == 0) return {nullptr, nullptr, &FreeData, c10::Device(c10::DeviceType::CPU)};
    void* block = n >= kLeastCached ? Cache().Take(n) : nullptr;
    if (block == nullptr) block = NewBlock(n);
    void* const data = static_cast<char*>(block) + kHeader;
    return {data, data, &FreeData, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &FreeData; }
  // Virtual in LibTorch 2.3 and later, absent before: hence no `override`.
  void copy_data(void* to, const void* from, std::size_t n) const { std::memcpy(to, from, n); }
};

}  // namespace

void InstallCachingAllocator() {
  static const bool installed = [] {
    c10::SetCPUAllocator(new CachingAllocator, /*priority=*/1);
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): LibTorch keeps it for ever
    return true;
  }();
  static_cast<void>(installed);
}

void ReleaseCachedMemory() { Cache().Release(); }

uint64_t CachedBytes() { return Cache().cached(); }

}  // namespace atelier::nn
