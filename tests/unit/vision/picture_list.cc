#include "tests/unit/vision/picture_list.h"

#include <cstdint>
#include <limits>

#include "tests/unit/vision/png_maker.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kTooMuch = absl::StatusCode::kResourceExhausted;
constexpr size_t kMaxBytes = size_t{12} << 20;

std::string Half(const std::string& bytes) { return bytes.substr(0, bytes.size() / 2); }

std::string Flipped(std::string bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

std::string Le32(uint32_t value) {
  const std::string big = Be32(value);
  return {big.rbegin(), big.rend()};
}

std::string BmpHeader(int32_t width, int32_t height, char bits = 24) {
  return "BM" + Le32(54) + Le32(0) + Le32(54) + Le32(40) + Le32(static_cast<uint32_t>(width)) +
         Le32(static_cast<uint32_t>(height)) + std::string({1, 0, bits, 0}) + std::string(24, '\0');
}

// Start of image, a frame header, start of scan; `size` is height and width, big-endian.
std::string JpegHeader(const std::string& size) {
  return std::string("\xff\xd8\xff\xc0\0\x11\x08", 7) + size + "\x03" + std::string(9, '\0') +
         "\xff\xda";
}

// An extended WebP; `size` is width - 1 and height - 1, little-endian in three bytes each.
std::string WebpHeader(const std::string& size) {
  return std::string("RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0", 24) + size;
}

// A whole PNG of exactly `bytes` bytes.
std::string PngOfBytes(size_t bytes) {
  constexpr size_t kPart = size_t{4} << 20;
  const auto padding = [](size_t size) { return PngChunk("atLr", std::string(size, 'x')); };
  const size_t chunk = padding(0).size();
  std::string extra;
  size_t missing = bytes - GreyPng(20, 12).size();
  for (; missing > kPart + 2 * chunk; missing = bytes - GreyPng(20, 12, extra).size()) {
    extra += padding(kPart);
  }
  return GreyPng(20, 12, extra + padding(missing - chunk));
}

std::vector<BadPicture> NoPictures() {
  return {
      {"ZeroBytes", "", kBad, "empty"},
      {"OneByte", "x", kBad, "not a picture"},
      {"TextNamedJpg", "this is a text that was named .jpg", kBad, "not a picture"},
      {"Gif", std::string("GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff;", 20), kBad, "GIF"},
      {"Tiff", std::string("II*\0\x08\0\0\0", 8), kBad, "not a picture"},
      {"Heic",
       std::string("\0\0\0\x18"
                   "ftypheic\0\0\0\0",
                   16),
       kBad, "not a picture"},
      {"Svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", kBad, "not a picture"},
      {"Zeros", std::string(100, '\0'), kBad, "not a picture"},
      {"PpmThatClaims30000x30000", "P6\n30000 30000\n255\n", kBad, "not a picture"},
      {"JpegMagicAlone", "\xff\xd8\xff", kBad, "JPEG is cut"},
      {"PngMagicAlone", "\x89PNG\r\n\x1a\n", kBad, "PNG is cut"},
      {"WebpMagicAlone", std::string("RIFF\x04\0\0\0WEBP", 12), kBad, "WebP is cut"},
      {"BmpMagicAlone", "BM", kBad, "BMP is cut"},
  };
}

std::vector<BadPicture> Damaged() {
  const std::string jpeg = ReadTestData("noise.jpg");
  const std::string png = ReadTestData("rgb.png");
  return {
      {"JpegCutAtHalf", Half(jpeg), kBad, "JPEG is cut"},
      {"JpegCutAt700Bytes", jpeg.substr(0, 700), kBad, "JPEG is cut"},
      {"JpegCutWithAnEndMarker", Half(jpeg) + "\xff\xd9", kBad, "JPEG is cut"},
      {"ProgressiveJpegCutAtHalf", Half(ReadTestData("progressive.jpg")), kBad, "JPEG is cut"},
      {"PngCutAtHalf", Half(png), kBad, "PNG is cut"},
      {"PngWithoutItsEnd", png.substr(0, png.size() - 12), kBad, "PNG is cut"},
      {"PngWithAFlippedByte", Flipped(png, png.size() / 2), kBad, "PNG is damaged"},
      {"WebpCutAtHalf", Half(ReadTestData("lossy.webp")), kBad, "WebP is cut"},
      {"AnimatedWebpCutAtHalf", Half(ReadTestData("animated.webp")), kBad, "WebP is cut"},
      {"BmpCutAtHalf", Half(ReadTestData("rgb.bmp")), kBad, "BMP is cut"},
      {"PngOfZeroSize", GreyPng(0, 10), kBad, "no pixels"},
      {"JpegOfZeroSize", JpegHeader(std::string(4, '\0')), kBad, "no pixels"},
      {"BmpOfZeroSize", BmpHeader(0, 5), kBad, "no pixels"},
      {"BmpOfNegativeWidth", BmpHeader(-5, 5), kBad, "no pixels"},
  };
}

std::vector<BadPicture> Giants() {
  const std::string most(6, '\xff');
  return {
      // 69 bytes, all of it in order.
      {"SmallPngThatClaims40000x40000", GreyPngOf(40000, 40000, Deflated("")), kTooMuch, "side"},
      {"RealPngOf20000x20000", GreyPng(20000, 20000), kTooMuch, "side"},
      {"PngOf100000x1", GreyPng(100000, 1), kTooMuch, "side"},
      {"PngOf1x100000", GreyPng(1, 100000), kTooMuch, "side"},
      {"PngOf4294967295x4294967295", GreyPngOf(0xffffffff, 0xffffffff, ""), kTooMuch, "side"},
      {"JpegOf65535x65535", JpegHeader(most.substr(0, 4)), kTooMuch, "side"},
      {"WebpOf16777216x16777216", WebpHeader(most), kTooMuch, "side"},
      {"BmpOf30000x30000", BmpHeader(30000, 30000), kTooMuch, "side"},
      {"BmpOfTheSmallestHeight", BmpHeader(30000, std::numeric_limits<int32_t>::min()), kTooMuch,
       "side"},
      // Its pixels would take more bytes than an int64 counts.
      {"BmpOfTheMostBytesAHeaderCanClaim",
       BmpHeader(std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min(), 32),
       kTooMuch, "side"},
      {"OneByteOver12MiB", PngOfBytes(kMaxBytes + 1), kTooMuch, "bytes"},
      {"OneColumnOver25Megapixels", GreyPng(5001, 5000), kTooMuch, "size of the picture"},
      {"SideOf8193", GreyPng(8193, 100), kTooMuch, "side"},
      {"AspectOver100", GreyPng(8101, 81), kTooMuch, "longer to shorter"},
  };
}

}  // namespace

const std::vector<BadPicture>& BadPictures() {
  static const std::vector<BadPicture> list = [] {
    std::vector<BadPicture> all = NoPictures();
    for (const auto& part : {Damaged(), Giants()}) all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return list;
}

const std::vector<GoodPicture>& PicturesAtALimit() {
  static const std::vector<GoodPicture> list = {
      {"Of12MiB", PngOfBytes(kMaxBytes)},
      {"Of25Megapixels", GreyPng(5000, 5000)},
      {"SideOf8192", GreyPng(8192, 100)},
      {"AspectOf100", GreyPng(81, 8100)},
  };
  return list;
}

std::vector<GoldenPicture> GoldenPictures() {
  std::vector<GoldenPicture> list;
  for (const auto& row : ReadRows("expected.csv")) {
    const bool lossy = row[0].ends_with(".jpg") || row[0] == "lossy.webp";
    list.push_back({row[0], std::stoi(row[1]), std::stoi(row[2]), lossy ? 2 : 0});
  }
  return list;
}

}  // namespace atelier::vision
