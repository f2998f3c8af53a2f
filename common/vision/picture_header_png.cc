// PNG (ISO 15948): IHDR, then the chain of chunks up to IEND.
#include <zlib.h>

#include "common/vision/byte_reader.h"
#include "common/vision/exif.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

constexpr uint64_t kSignature = 8;
constexpr uint64_t kOverhead = 12;  // length, type, CRC

uint32_t Crc(std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

}  // namespace

absl::StatusOr<PictureInfo> ReadPngInfo(std::string_view bytes) {
  const ByteReader reader(bytes);
  if (!reader.Has(kSignature, kOverhead + 13) || !reader.Matches(kSignature + 4, "IHDR") ||
      reader.Be32(kSignature) != 13) {
    return absl::InvalidArgumentError("the PNG is cut or damaged: it has no header chunk");
  }
  PictureInfo info;
  info.format = PictureFormat::kPng;
  info.width = reader.Be32(kSignature + 8);
  info.height = reader.Be32(kSignature + 12);
  uint64_t at = kSignature;
  while (reader.Has(at, kOverhead)) {
    const uint64_t length = reader.Be32(at);
    if (!reader.Has(at, kOverhead + length)) break;
    if (Crc(reader.Slice(at + 4, length + 4)) != reader.Be32(at + 8 + length)) {
      info.damage = "the PNG is damaged: a chunk does not match its checksum";
      return info;
    }
    if (reader.Matches(at + 4, "eXIf")) {
      info.orientation = ExifOrientation(reader.Slice(at + 8, length));
    }
    if (reader.Matches(at + 4, "IEND")) return info;
    at += kOverhead + length;
  }
  info.damage = "the PNG is cut: its end chunk is missing";
  return info;
}

}  // namespace atelier::vision
