// ITU-T T.81 annex B: segments up to the first start of scan.
#include "common/vision/byte_reader.h"
#include "common/vision/exif.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

bool IsFrameHeader(uint32_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

bool StandsAlone(uint32_t marker) { return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8); }

}  // namespace

absl::StatusOr<PictureInfo> ReadJpegInfo(std::string_view bytes) {
  const ByteReader reader(bytes);
  PictureInfo info;
  info.format = PictureFormat::kJpeg;
  bool frame_seen = false;
  uint64_t at = 2;
  while (reader.Has(at, 2)) {
    if (reader.U8(at) != 0xff) {  // stray bytes between segments; libjpeg skips them too
      ++at;
      continue;
    }
    const uint32_t marker = reader.U8(at + 1);
    if (marker == 0xff || marker == 0x00 || StandsAlone(marker)) {
      at += marker == 0xff ? 1 : 2;
      continue;
    }
    if (marker == 0xda) {  // start of scan
      if (!frame_seen) break;
      return info;
    }
    if (marker == 0xd9) break;  // end of image
    const uint64_t length = reader.Be16(at + 2);
    if (length < 2 || !reader.Has(at + 2, length)) break;
    const std::string_view payload = reader.Slice(at + 4, length - 2);
    if (IsFrameHeader(marker) && !frame_seen) {
      if (payload.size() < 6) break;
      info.height = reader.Be16(at + 5);
      info.width = reader.Be16(at + 7);
      frame_seen = true;
    } else if (marker == 0xe1 && payload.starts_with(std::string_view("Exif\0\0", 6))) {
      info.orientation = ExifOrientation(payload);
    }
    at += 2 + length;
  }
  if (!frame_seen) {
    return absl::InvalidArgumentError("the JPEG is cut or damaged: it ends before its size");
  }
  info.damage = "the JPEG is cut or damaged: it has no picture data";
  return info;
}

}  // namespace atelier::vision
