// Memory that ends inside a codec's library, at each of its allocations in turn.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "common/vision/decode.h"
#include "tests/testing/failing_malloc.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::FailingMalloc;
using ::atelier::testing::StatusIs;

class NoMemoryTest : public ::testing::TestWithParam<GoldenPicture> {};

TEST_P(NoMemoryTest, WhereverMemoryEndsThePictureIsNotBlamed) {
  const std::string bytes = ReadTestData(GetParam().name);
  // What the libraries make once and keep is made here.
  ASSERT_OK_AND_ASSIGN(const Image whole, DecodePicture(bytes, 3));
  int refused = 0;
  bool failed = true;
  for (int n = 1; failed; ++n) {
    absl::StatusOr<Image> image;
    {
      const FailingMalloc failing(n);
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
  EXPECT_GT(refused, 3) << "the image, and what the library needs";
}

INSTANTIATE_TEST_SUITE_P(List, NoMemoryTest, ::testing::ValuesIn(GoldenPictures()),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           for (char& c : name) c = c == '.' || c == '-' ? '_' : c;
                           return name;
                         });

TEST(NoMemory, ALackThatIsOverExcusesNoDamage) {
  for (const char* name : {"lossy.webp", "alpha.webp", "lossless.webp", "animated.webp", "rgb.bmp"}) {
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
