#include "services/data/picture_cache.h"

#include <gtest/gtest.h>

#include <new>

#include "tests/testing/little_memory.h"
#include "tests/testing/status_matchers.h"

namespace atelier::data {
namespace {

absl::StatusOr<vision::Image> Load() { return vision::Image::Make(4, 4, 3); }

TEST(PictureCache, TheLeastRecentlyUsedPictureGoesFirst) {
  PictureCache cache(2 * 4 * 4 * 3);
  for (const char* key : {"a", "b", "a", "c", "a", "b"}) {
    ASSERT_THAT(cache.Get(key, Load), testing::IsOk());
  }
  EXPECT_EQ(cache.stats().hits, 2);
  EXPECT_EQ(cache.stats().misses, 4);
  EXPECT_EQ(cache.stats().bytes, 2 * 4 * 4 * 3);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
TEST(PictureCache, WithoutMemoryNothingIsHalfKept) {
  // Kept twice: memory ends before, between or after. Larger than the 64 MiB that malloc reserves
  // for a thread, which other tests' threads leave behind.
  const std::string key(72 << 20, 'k');
  int refusals = 0;
  bool refused = true;
  while (refused) {
    PictureCache cache(4 * 4 * 3);
    refused = false;
    try {
      const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
      cache.Get(key, Load).IgnoreError();
    } catch (const std::bad_alloc&) {
      refused = true;
      ++refusals;
    }
    ASSERT_EQ(cache.stats().bytes, refused ? 0 : 4 * 4 * 3);
    ASSERT_OK_AND_ASSIGN(const auto again, cache.Get(key, Load));
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(cache.stats().hits, refused ? 0 : 1);
    ASSERT_THAT(cache.Get("another", Load), testing::IsOk());
    EXPECT_EQ(cache.stats().bytes, 4 * 4 * 3) << "the other one went";
  }
  EXPECT_GT(refusals, 18) << "the second copy was refused too";
}
#endif

}  // namespace
}  // namespace atelier::data
