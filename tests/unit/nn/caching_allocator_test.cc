#include "common/nn/caching_allocator.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace atelier::nn {
namespace {

TEST(CachingAllocatorTest, AFreedTensorsMemoryServesTheNextOne) {
  const at::Tensor before =
      at::ones({1 << 20});  // from LibTorch's allocator, freed after the change
  InstallCachingAllocator();
  InstallCachingAllocator();
  ReleaseCachedMemory();
  at::Tensor x = at::ones({1 << 20});
  const void* const place = x.data_ptr();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(place) % 64, 0U);
  EXPECT_EQ(CachedBytes(), 0U);
  x.reset();
  EXPECT_EQ(CachedBytes(), uint64_t{4} << 20);
  x = at::zeros({1000, 1000});  // a little smaller
  EXPECT_EQ(x.data_ptr(), place);
  const at::Tensor much_smaller = at::ones({1 << 16});
  EXPECT_EQ(CachedBytes(), 0U);
  x.reset();
  EXPECT_GT(CachedBytes(), 0U);
  ReleaseCachedMemory();
  EXPECT_EQ(CachedBytes(), 0U);
  EXPECT_EQ(before.sum().item<float>(), 1 << 20);
}

}  // namespace
}  // namespace atelier::nn
