// Encoded bytes to Image, refusing before any allocation. Allow-list by magic: JPEG, PNG, WebP,
// BMP. One rule for training and serving: EXIF orientation applied, alpha composed over white, CMYK
// and palette and grey become RGB, 16-bit is cut to its high byte; the first frame of an animation.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/vision/image.h"

namespace atelier::vision {

struct DecodeLimits {
  int64_t max_bytes = 12 << 20;
  int64_t max_pixels = 25'000'000;
  int max_side = 8192;
  double max_aspect = 100.0;
};

enum class PictureFormat { kJpeg, kPng, kWebp, kBmp };

// What the header says, before EXIF orientation; `width`/`height` after it are in oriented_*.
struct PictureHeader {
  PictureFormat format;
  int width = 0;
  int height = 0;
  int oriented_width = 0;
  int oriented_height = 0;
};

// Reads only the header. InvalidArgument: not one of the formats, cut, zero size.
// ResourceExhausted: over a limit (the message says which, the value and the limit). Pure;
// thread-safe.
absl::StatusOr<PictureHeader> ReadPictureHeader(std::string_view bytes, const DecodeLimits& limits);

// ReadPictureHeader, then decodes to RGB (channels 3) or grey (channels 1: ITU-R 601 luma as
// Pillow's "L"). Truncated or damaged data is InvalidArgument, never a partial picture; without
// memory for it a picture is ResourceExhausted, never called damaged. Thread-safe.
absl::StatusOr<Image> DecodePicture(std::string_view bytes, int channels,
                                    const DecodeLimits& limits = {});

// PNG bytes of an image (previews, reports). InvalidArgument: an image without pixels.
// ResourceExhausted: not enough memory.
absl::StatusOr<std::string> EncodePng(const Image& image);

// Whether the file name ends like a picture we read (.jpg .jpeg .png .webp .bmp, any case).
bool HasPictureExtension(std::string_view file_name);

}  // namespace atelier::vision
