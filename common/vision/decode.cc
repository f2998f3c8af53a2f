#include "common/vision/decode.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/vision/grayscale.h"
#include "common/vision/guarded.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

absl::StatusOr<Image> DecodeByFormat(std::string_view bytes, const PictureInfo& info) {
  switch (info.format) {
    case PictureFormat::kJpeg:
      return DecodeJpeg(bytes, info);
    case PictureFormat::kPng:
      return DecodePng(bytes, info);
    case PictureFormat::kWebp:
      return DecodeWebp(bytes, info);
    case PictureFormat::kBmp:
      return DecodeBmp(bytes, info);
  }
  return absl::InvalidArgumentError("unknown picture format");
}

}  // namespace

absl::StatusOr<Image> DecodePicture(std::string_view bytes, int channels,
                                    const DecodeLimits& limits) {
  if (channels != 1 && channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrFormat("channels: expected 3 (RGB) or 1 (grey), found %d", channels));
  }
  return Guarded("decode the picture", [&]() -> absl::StatusOr<Image> {
    ATELIER_ASSIGN_OR_RETURN(const PictureInfo info, ReadPictureInfo(bytes, limits));
    ATELIER_ASSIGN_OR_RETURN(Image image, DecodeByFormat(bytes, info));
    image = ApplyOrientation(std::move(image), info.orientation);
    return channels == 1 ? ToGrayscale(image) : std::move(image);
  });
}

absl::Status NoMemoryToDecode() {
  return absl::ResourceExhaustedError("not enough memory to decode the picture");
}

absl::Status DamagedUnlessNoMemory(std::string_view damage) {
  return errno == ENOMEM ? NoMemoryToDecode() : absl::InvalidArgumentError(std::string(damage));
}

void ComposeOverWhite(const uint8_t* rgba, int64_t n, bool red_first, uint8_t* rgb) {
  for (int64_t i = 0; i < n; ++i, rgba += 4, rgb += 3) {
    const unsigned alpha = rgba[3];
    const auto over = [alpha](unsigned level) {
      return static_cast<uint8_t>((level * alpha + 255U * (255U - alpha) + 127U) / 255U);
    };
    rgb[0] = over(red_first ? rgba[0] : rgba[2]);
    rgb[1] = over(rgba[1]);
    rgb[2] = over(red_first ? rgba[2] : rgba[0]);
  }
}

bool HasPictureExtension(std::string_view file_name) {
  const size_t dot = file_name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string extension(file_name.substr(dot));
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kKnown[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp"};
  return std::ranges::find(kKnown, extension) != std::end(kKnown);
}

}  // namespace atelier::vision
