// RELIABILITY's list of bad images: each answered with the right code, never a partial picture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/vision/decode.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kTooMuch = absl::StatusCode::kResourceExhausted;

std::string Be32(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

// A PNG's signature and header chunk; its checksum is not right, the size comes first.
std::string PngHeader(uint32_t width, uint32_t height) {
  return "\x89PNG\r\n\x1a\n" + Be32(13) + "IHDR" + Be32(width) + Be32(height) +
         std::string("\x08\x02\0\0\0", 5) + Be32(0);
}

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

std::string BmpHeader(int32_t width, int32_t height) {
  const auto le32 = [](uint32_t value) {
    const std::string big = Be32(value);
    return std::string(big.rbegin(), big.rend());
  };
  return "BM" + le32(54) + le32(0) + le32(54) + le32(40) + le32(static_cast<uint32_t>(width)) +
         le32(static_cast<uint32_t>(height)) + std::string("\1\0\x18\0", 4) + std::string(24, '\0');
}

TEST(BadPictures, WhatIsNoPictureIsRefusedByContent) {
  const std::string cases[] = {
      "",
      "x",
      "\xff",
      "this is a text that was named .jpg",
      "GIF89a\1\0\1\0",
      "P6\n30000 30000\n255\n",
      std::string(100, '\0'),
      "\xff\xd8\xff",
      "BM",
      "RIFF\1\1\1\1WEBP",
      "\x89PNG\r\n\x1a\n",
  };
  for (const std::string& bytes : cases) {
    EXPECT_THAT(DecodePicture(bytes, 3), StatusIs(kBad)) << bytes;
    EXPECT_THAT(ReadPictureHeader(bytes, {}), StatusIs(kBad)) << bytes;
  }
  EXPECT_THAT(DecodePicture("GIF89a\1\0\1\0", 3), StatusIs(kBad, HasSubstr("GIF")));
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

TEST(BadPictures, ACutJpegWithAnEndMarkerIsStillCut) {
  const std::string whole = ReadTestData("plain.jpg");
  EXPECT_THAT(DecodePicture(whole.substr(0, whole.size() - 30) + "\xff\xd9", 3), StatusIs(kBad));
}

TEST(BadPictures, AFlippedByteInAPngIsFound) {
  const std::string whole = ReadTestData("rgb.png");
  for (size_t at = 16; at < whole.size(); ++at) {
    const auto result = DecodePicture(Flipped(whole, at), 3);
    ASSERT_FALSE(result.ok()) << at;
    ASSERT_TRUE(result.status().code() == kBad || result.status().code() == kTooMuch)
        << at << " " << result.status();
  }
}

TEST(BadPictures, NoByteFlipCrashesAnyDecoder) {
  for (const auto& row : ReadRows("expected.csv")) {
    const std::string whole = ReadTestData(row[0]);
    for (size_t at = 0; at < whole.size(); ++at) {
      const auto result = DecodePicture(Flipped(whole, at), 3, {.max_pixels = 1 << 20});
      if (result.ok()) continue;
      ASSERT_TRUE(result.status().code() == kBad || result.status().code() == kTooMuch)
          << row[0] << " at " << at << ": " << result.status();
    }
  }
}

TEST(BadPictures, GiantsAreRefusedFromTheirHeader) {
  const struct {
    std::string bytes;
    const char* what;
  } cases[] = {
      {PngHeader(40000, 40000), "side"},
      {PngHeader(20000, 20000), "side"},
      {PngHeader(100000, 1), "side"},
      {PngHeader(8000, 8000), "size of the picture"},
      {PngHeader(2000, 10), "longer to shorter"},
      {PngHeader(0xffffffff, 0xffffffff), "side"},
      {BmpHeader(30000, 30000), "side"},
      {BmpHeader(30000, std::numeric_limits<int32_t>::min()), "side"},
      {std::string("RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff", 30), "side"},
      {std::string("\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03", 12) + std::string(9, '\0') +
           "\xff\xda",
       "side"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(DecodePicture(test.bytes, 3), StatusIs(kTooMuch, HasSubstr(test.what)));
  }
}

TEST(BadPictures, LimitsAreInclusive) {
  const std::string bytes = ReadTestData("rgb.png");  // 20 x 12
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_pixels = 240}), IsOk());
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_pixels = 239}), StatusIs(kTooMuch, HasSubstr("239")));
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_side = 20}), IsOk());
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_side = 19}), StatusIs(kTooMuch));
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_aspect = 1.6}), StatusIs(kTooMuch));
  const int64_t size = static_cast<int64_t>(bytes.size());
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_bytes = size}), IsOk());
  EXPECT_THAT(DecodePicture(bytes, 3, {.max_bytes = size - 1}),
              StatusIs(kTooMuch, HasSubstr("bytes")));
}

TEST(BadPictures, NoPixelsIsBadContent) {
  EXPECT_THAT(DecodePicture(PngHeader(0, 10), 3), StatusIs(kBad, HasSubstr("no pixels")));
  EXPECT_THAT(DecodePicture(BmpHeader(0, 5), 3), StatusIs(kBad));
  EXPECT_THAT(DecodePicture(BmpHeader(-5, 5), 3), StatusIs(kBad));
}

TEST(BadPictures, TheGoodOneAfterABadOneSucceeds) {
  const std::string good = ReadTestData("plain.jpg");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(DecodePicture(good.substr(0, good.size() / 2), 3), StatusIs(kBad));
    EXPECT_THAT(DecodePicture(good, 3), IsOk());
  }
  EXPECT_THAT(DecodePicture(good, 2), StatusIs(kBad, HasSubstr("channels")));
}

}  // namespace
}  // namespace atelier::vision
