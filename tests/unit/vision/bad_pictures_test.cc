// RELIABILITY's list of bad images through the decoder: each answered with its code before anything
// is allocated for it, never a partial picture, and the next good one decodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/vision/decode.h"
#include "tests/testing/little_memory.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/png_maker.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kTooMuch = absl::StatusCode::kResourceExhausted;

// The most this process had in memory since the last reset, in KiB; 0 where the kernel does not
// say.
int64_t PeakResidentKib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
  }
  return 0;
}
void ResetPeak() { std::ofstream("/proc/self/clear_refs") << 5; }

class BadPictureTest : public ::testing::TestWithParam<BadPicture> {};

TEST_P(BadPictureTest, IsRefusedAndTheNextGoodOneDecodes) {
  const BadPicture& bad = GetParam();
  const std::string good = ReadTestData("plain.jpg");
  for (const int channels : {1, 3}) {
    EXPECT_THAT(DecodePicture(bad.bytes, channels), StatusIs(bad.code, HasSubstr(bad.reason)));
    EXPECT_THAT(DecodePicture(good, channels), IsOk());
  }
}

TEST_P(BadPictureTest, TooLargeAHeaderIsRefusedBeforeAnythingIsAllocated) {
  const BadPicture& bad = GetParam();
  if (bad.code != kTooMuch) return;  // what is damaged may have to be read to its end
  ResetPeak();
  const int64_t before = PeakResidentKib();
  EXPECT_THAT(DecodePicture(bad.bytes, 3), StatusIs(kTooMuch));
  EXPECT_LE(PeakResidentKib() - before, 4 << 10);
}

INSTANTIATE_TEST_SUITE_P(List, BadPictureTest, ::testing::ValuesIn(BadPictures()),
                         [](const auto& test) { return test.param.name; });

class PictureAtALimitTest : public ::testing::TestWithParam<GoodPicture> {};

TEST_P(PictureAtALimitTest, IsStillDecoded) {
  EXPECT_THAT(DecodePicture(GetParam().bytes, 3), IsOk());
}

INSTANTIATE_TEST_SUITE_P(List, PictureAtALimitTest, ::testing::ValuesIn(PicturesAtALimit()),
                         [](const auto& test) { return test.param.name; });

TEST(BadPictures, EachLimitIsTheCallers) {
  const std::string bytes = ReadTestData("rgb.png");  // 20 x 12
  const int64_t size = static_cast<int64_t>(bytes.size());
  const struct {
    DecodeLimits at;
    DecodeLimits under;
    const char* what;
  } cases[] = {
      {{.max_bytes = size}, {.max_bytes = size - 1}, "size of the file"},
      {{.max_pixels = 240}, {.max_pixels = 239}, "size of the picture: at most 239"},
      {{.max_side = 20}, {.max_side = 19}, "side of the picture"},
      {{.max_aspect = 20.0 / 12}, {.max_aspect = 1.66}, "longer to shorter"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(DecodePicture(bytes, 3, test.at), IsOk()) << test.what;
    EXPECT_THAT(DecodePicture(bytes, 3, test.under), StatusIs(kTooMuch, HasSubstr(test.what)));
  }
}

TEST(BadPictures, EveryCutOfEveryFormatIsRefused) {
  for (const char* name :
       {"plain.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgb.png", "interlaced.png",
        "palette.png", "lossy.webp", "lossless.webp", "animated.webp", "rgb.bmp", "palette.bmp"}) {
    const std::string whole = ReadTestData(name);
    ASSERT_THAT(DecodePicture(whole, 3), IsOk()) << name;
    for (size_t size = 0; size < whole.size(); ++size) {
      // The padding byte at a RIFF's end and a BMP's tail of row padding carry nothing, but a file
      // without them is cut all the same.
      ASSERT_THAT(DecodePicture(whole.substr(0, size), 3), StatusIs(kBad))
          << name << " cut to " << size << " of " << whole.size();
    }
  }
}

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

TEST(BadPictures, AFlippedByteAnywhereInAPngIsFound) {
  const std::string whole = ReadTestData("rgb.png");
  for (size_t at = 16; at < whole.size(); ++at) {
    const auto result = DecodePicture(Flipped(whole, at), 3);
    ASSERT_FALSE(result.ok()) << at;
    ASSERT_TRUE(result.status().code() == kBad || result.status().code() == kTooMuch)
        << at << " " << result.status();
  }
}

TEST(BadPictures, NoByteFlipCrashesAnyDecoder) {
  for (const GoldenPicture& picture : GoldenPictures()) {
    const std::string whole = ReadTestData(picture.name);
    for (size_t at = 0; at < whole.size(); ++at) {
      const auto result = DecodePicture(Flipped(whole, at), 3, {.max_pixels = 1 << 20});
      if (result.ok()) continue;
      ASSERT_TRUE(result.status().code() == kBad || result.status().code() == kTooMuch)
          << picture.name << " at " << at << ": " << result.status();
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes

TEST(BadPictures, WhereverMemoryEndsIsAStatus) {
  const std::string header("II*\0\x08\0\0\0\x01\0", 10);
  const std::string turned("\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 16);
  // 48 MB decoded, 48 MB more when turned.
  const std::string bytes = GreyPng(4000, 4000, PngChunk("eXIf", header + turned));
  for (const int channels : {1, 3}) {
    int refusals = 0;
    absl::Status status;
    do {
      const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
      status = DecodePicture(bytes, channels).status();
      if (!status.ok()) ++refusals;
    } while (absl::IsResourceExhausted(status));
    EXPECT_THAT(status, IsOk());
    EXPECT_GT(refusals, 0);
  }
}

#endif

TEST(BadPictures, TwoChannelsAreNone) {
  EXPECT_THAT(DecodePicture(ReadTestData("plain.jpg"), 2), StatusIs(kBad, HasSubstr("channels")));
}

}  // namespace
}  // namespace atelier::vision
