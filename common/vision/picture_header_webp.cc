// WebP container (RFC 9649): RIFF with VP8, VP8L or VP8X first.
#include "common/vision/byte_reader.h"
#include "common/vision/exif.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

constexpr uint64_t kFirstChunk = 12;
constexpr uint64_t kPayload = kFirstChunk + 8;

int FindOrientation(const ByteReader& reader) {
  uint64_t at = kFirstChunk;
  while (reader.Has(at, 8)) {
    const uint64_t length = reader.Le32(at + 4);
    if (reader.Matches(at, "EXIF")) return ExifOrientation(reader.Slice(at + 8, length));
    at += 8 + length + length % 2;
  }
  return 1;
}

}  // namespace

absl::StatusOr<PictureInfo> ReadWebpInfo(std::string_view bytes) {
  const ByteReader reader(bytes);
  PictureInfo info;
  info.format = PictureFormat::kWebp;
  const absl::Status cut =
      absl::InvalidArgumentError("the WebP is cut or damaged: its size cannot be read");
  if (!reader.Has(kPayload, 10)) return cut;
  if (reader.Matches(kFirstChunk, "VP8X")) {
    info.animated = (reader.U8(kPayload) & 0x02) != 0;
    info.width = int64_t{reader.Le24(kPayload + 4)} + 1;
    info.height = int64_t{reader.Le24(kPayload + 7)} + 1;
    info.orientation = FindOrientation(reader);
  } else if (reader.Matches(kFirstChunk, "VP8L") && reader.U8(kPayload) == 0x2f) {
    const uint32_t sizes = reader.Le32(kPayload + 1);
    info.width = (sizes & 0x3fff) + 1;
    info.height = ((sizes >> 14) & 0x3fff) + 1;
  } else if (reader.Matches(kFirstChunk, "VP8 ") && reader.Matches(kPayload + 3, "\x9d\x01\x2a")) {
    info.width = reader.Le16(kPayload + 6) & 0x3fff;
    info.height = reader.Le16(kPayload + 8) & 0x3fff;
  } else {
    return cut;
  }
  if (!reader.Has(8, reader.Le32(4))) {
    info.damage = "the WebP is cut: the file is shorter than its header says";
  }
  return info;
}

}  // namespace atelier::vision
