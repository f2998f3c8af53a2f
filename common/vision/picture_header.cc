#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/vision/byte_reader.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

absl::StatusOr<PictureInfo> ReadByMagic(std::string_view bytes) {
  const ByteReader reader(bytes);
  if (reader.Matches(0, "\xff\xd8\xff")) return ReadJpegInfo(bytes);
  if (reader.Matches(0, "\x89PNG\r\n\x1a\n")) return ReadPngInfo(bytes);
  if (reader.Matches(0, "RIFF") && reader.Matches(8, "WEBP")) return ReadWebpInfo(bytes);
  if (reader.Matches(0, "BM")) return ReadBmpInfo(bytes);
  if (bytes.empty()) return absl::InvalidArgumentError("the file is empty");
  const char* known = reader.Matches(0, "GIF8") ? " (this is a GIF)" : "";
  return absl::InvalidArgumentError(absl::StrFormat(
      "not a picture in a format read here: expected JPEG, PNG, WebP or BMP by content%s", known));
}

absl::Status TooMuch(const char* what, double limit, const char* unit, double found) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("%s: at most %.10g%s, found %.10g", what, limit, unit, found));
}

absl::Status CheckLimits(const PictureInfo& info, const DecodeLimits& limits) {
  if (info.width <= 0 || info.height <= 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the picture has no pixels: the header says %dx%d", info.width, info.height));
  }
  const int64_t longer = std::max(info.width, info.height);
  const int64_t shorter = std::min(info.width, info.height);
  if (longer > limits.max_side) {
    return TooMuch("side of the picture", limits.max_side, " pixels", static_cast<double>(longer));
  }
  if (info.width * info.height > limits.max_pixels) {
    return TooMuch("size of the picture", static_cast<double>(limits.max_pixels), " pixels",
                   static_cast<double>(info.width * info.height));
  }
  const double aspect = static_cast<double>(longer) / static_cast<double>(shorter);
  if (aspect > limits.max_aspect) {
    return TooMuch("longer to shorter side", limits.max_aspect, "", aspect);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PictureInfo> ReadPictureInfo(std::string_view bytes, const DecodeLimits& limits) {
  if (static_cast<int64_t>(bytes.size()) > limits.max_bytes) {
    return TooMuch("size of the file", static_cast<double>(limits.max_bytes), " bytes",
                   static_cast<double>(bytes.size()));
  }
  ATELIER_ASSIGN_OR_RETURN(PictureInfo info, ReadByMagic(bytes));
  ATELIER_RETURN_IF_ERROR(CheckLimits(info, limits));
  if (!info.damage.empty()) return absl::InvalidArgumentError(info.damage);
  return info;
}

absl::StatusOr<PictureHeader> ReadPictureHeader(std::string_view bytes,
                                                const DecodeLimits& limits) {
  ATELIER_ASSIGN_OR_RETURN(const PictureInfo info, ReadPictureInfo(bytes, limits));
  PictureHeader header;
  header.format = info.format;
  header.width = static_cast<int>(info.width);
  header.height = static_cast<int>(info.height);
  const bool turned = info.orientation >= 5;
  header.oriented_width = turned ? header.height : header.width;
  header.oriented_height = turned ? header.width : header.height;
  return header;
}

}  // namespace atelier::vision
