// Windows bitmap: file header, then a DIB header of 12 (OS/2) or 40 and more bytes.
#include <algorithm>
#include <cstdlib>

#include "common/vision/byte_reader.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

constexpr uint64_t kDib = 14;
constexpr uint32_t kNoCompression = 0;
constexpr uint32_t kRle8 = 1;
constexpr uint32_t kRle4 = 2;
constexpr uint32_t kBitFields = 3;

bool DepthIsRead(uint32_t bits) {
  constexpr uint32_t kDepths[] = {1, 4, 8, 16, 24, 32};
  return std::ranges::find(kDepths, bits) != std::end(kDepths);
}

}  // namespace

absl::StatusOr<PictureInfo> ReadBmpInfo(std::string_view bytes) {
  const ByteReader reader(bytes);
  const uint32_t dib = reader.Le32(kDib);
  if (!reader.Has(kDib, dib) || (dib != 12 && dib < 40) || dib > 1024) {
    return absl::InvalidArgumentError("the BMP is cut or damaged: its size cannot be read");
  }
  PictureInfo info;
  info.format = PictureFormat::kBmp;
  uint32_t bits = 0;
  uint32_t compression = kNoCompression;
  uint32_t colours = 0;
  if (dib == 12) {
    info.width = reader.Le16(kDib + 4);
    info.height = reader.Le16(kDib + 6);
    bits = reader.Le16(kDib + 10);
  } else {
    info.width = static_cast<int32_t>(reader.Le32(kDib + 4));
    // Negative: the top row comes first.
    info.height = std::abs(int64_t{static_cast<int32_t>(reader.Le32(kDib + 8))});
    bits = reader.Le16(kDib + 14);
    compression = reader.Le32(kDib + 16);
    colours = reader.Le32(kDib + 32);
    info.has_alpha = dib >= 56 && compression == kBitFields && reader.Le32(kDib + 52) != 0;
  }
  if (!DepthIsRead(bits) || compression > kBitFields) {
    info.damage = "this kind of BMP is not read here: expected 1 to 32 bits, plain, RLE or masks";
    return info;
  }
  if (colours > 256) info.damage = "the BMP is damaged: it has more than 256 palette colours";
  const bool run_lengths = compression == kRle8 || compression == kRle4;
  // Unsigned: the limits are checked later, and the largest width, depth and height of a header
  // need up to 2^64 - 2^33 bytes.
  const uint64_t row_bytes =
      (static_cast<uint64_t>(std::max<int64_t>(info.width, 0)) * bits + 31) / 32 * 4;
  const uint64_t needed = row_bytes * static_cast<uint64_t>(info.height);
  if (!run_lengths && info.width > 0 && !reader.Has(reader.Le32(10), needed)) {
    info.damage = "the BMP is cut: it has fewer pixels than its header says";
  }
  return info;
}

}  // namespace atelier::vision
