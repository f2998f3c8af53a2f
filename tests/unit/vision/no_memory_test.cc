// Memory that ends inside a codec's library, at each of its allocations in turn.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "common/vision/decode.h"
#include "tests/testing/failing_malloc.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/data/pictures.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::FailingMalloc;
using ::atelier::testing::StatusIs;

// The golden ones, and a BMP for whose rows OpenCV needs more than it has on the stack.
std::vector<GoodPicture> Pictures() {
  std::vector<GoodPicture> pictures = {{"large.bmp", data::GreyBmp(1200)}};
  for (const GoldenPicture& golden : GoldenPictures()) {
    pictures.push_back({golden.name, ReadTestData(golden.name)});
  }
  return pictures;
}

// libwebp crashes before 1.5 when it is refused the 512 bytes of a table (root->next in
// VP8LHuffmanTablesAllocate). What a process runs out of is larger.
size_t LeastRefused(const std::string& name) { return name.ends_with(".webp") ? 513 : 0; }

class NoMemoryTest : public ::testing::TestWithParam<GoodPicture> {};

TEST_P(NoMemoryTest, WhereverMemoryEndsThePictureIsNotBlamed) {
  const auto& [name, bytes] = GetParam();
  // What the libraries make once and keep is made here.
  ASSERT_OK_AND_ASSIGN(const Image whole, DecodePicture(bytes, 3));
  int refused = 0;
  bool failed = true;
  for (int n = 1; failed; ++n) {
    absl::StatusOr<Image> image;
    {
      const FailingMalloc failing(n, LeastRefused(name));
      image = DecodePicture(bytes, 3);
      failed = failing.failed();
    }
    if (image.ok()) {  // the library did without
      EXPECT_EQ(image->pixels, whole.pixels) << n;
      continue;
    }
    EXPECT_THAT(image, StatusIs(absl::StatusCode::kResourceExhausted)) << n;
    ++refused;
  }
  EXPECT_GT(refused, 2) << "the image, and what the library needs";
}

INSTANTIATE_TEST_SUITE_P(List, NoMemoryTest, ::testing::ValuesIn(Pictures()), [](const auto& test) {
  std::string name = test.param.name;
  std::ranges::replace(name, '.', '_');
  return name;
});

TEST(NoMemory, ALackThatIsOverExcusesNoDamage) {
  for (const char* name :
       {"lossy.webp", "alpha.webp", "lossless.webp", "animated.webp", "rgb.bmp"}) {
    const std::string whole = ReadTestData(name);
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
      errno = 0;
      const absl::Status expected = DecodePicture(flipped, 3, {.max_pixels = 1 << 20}).status();
      errno = ENOMEM;
      const absl::Status found = DecodePicture(flipped, 3, {.max_pixels = 1 << 20}).status();
      ASSERT_EQ(found, expected) << name << " at " << at;
    }
  }
}

}  // namespace
}  // namespace atelier::vision
