// Private to common/vision: what the header readers find and the codecs take. One .cc per format.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/vision/decode.h"
#include "common/vision/image.h"

namespace atelier::vision {

struct PictureInfo {
  PictureFormat format = PictureFormat::kJpeg;
  int64_t width = 0;  // as stored
  int64_t height = 0;
  int orientation = 1;     // EXIF, 1..8
  bool animated = false;   // WebP only; APNG readers see the first frame anyway
  bool has_alpha = false;  // BMP only: the header declares an alpha mask
  // Not empty: what is missing or wrong behind the size. Reported after the limits, so that a
  // giant is called a giant.
  std::string damage;
};

// Each: InvalidArgument when the size cannot be read.
absl::StatusOr<PictureInfo> ReadJpegInfo(std::string_view bytes);
absl::StatusOr<PictureInfo> ReadPngInfo(std::string_view bytes);
absl::StatusOr<PictureInfo> ReadWebpInfo(std::string_view bytes);
absl::StatusOr<PictureInfo> ReadBmpInfo(std::string_view bytes);

// By magic, limits checked.
absl::StatusOr<PictureInfo> ReadPictureInfo(std::string_view bytes, const DecodeLimits& limits);

// RGB, not yet oriented, transparency composed over white. `info` has passed the limits.
// InvalidArgument: damaged. ResourceExhausted (or an exception): memory ended, in the library, too.
absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, const PictureInfo& info);
absl::StatusOr<Image> DecodePng(std::string_view bytes, const PictureInfo& info);
absl::StatusOr<Image> DecodeWebp(std::string_view bytes, const PictureInfo& info);
absl::StatusOr<Image> DecodeBmp(std::string_view bytes, const PictureInfo& info);

// What a codec answers when memory ended: the picture cannot be blamed for that.
absl::Status NoMemoryToDecode();

// For a library that failed and does not tell why. malloc has left ENOMEM in errno where memory
// ended: errno must have been 0 when the library was called.
absl::Status DamagedUnlessNoMemory(std::string_view damage);

// RGBA to RGB over white; `n` pixels; red_first false for BGRA.
void ComposeOverWhite(const uint8_t* rgba, int64_t n, bool red_first, uint8_t* rgb);

// The picture as its EXIF orientation wants it to be seen.
Image ApplyOrientation(Image image, int orientation);

}  // namespace atelier::vision
