// RELIABILITY's pictures, "Bad input to answer well", for every way in: the decoder, the
// data-service, the aggregator.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace atelier::vision {

struct BadPicture {
  std::string name;  // letters and digits
  std::string bytes;
  absl::StatusCode code;
  std::string reason;  // part of the message
};

struct GoodPicture {
  std::string name;
  std::string bytes;
};

// Each is refused with its code and reason under the default limits.
const std::vector<BadPicture>& BadPictures();

// As large as the default limits allow in bytes, pixels, side and aspect; one each.
const std::vector<GoodPicture>& PicturesAtALimit();

// Every kind of picture that is read: testdata/NAME, and the pixels it becomes in NAME.rgb.
struct GoldenPicture {
  std::string name;
  int width;  // upright
  int height;
  // How far a pixel may be from the golden one: JPEG decoders differ by rounding.
  int tolerance;
};
std::vector<GoldenPicture> GoldenPictures();

inline void PrintTo(const BadPicture& picture, std::ostream* out) { *out << picture.name; }
inline void PrintTo(const GoodPicture& picture, std::ostream* out) { *out << picture.name; }
inline void PrintTo(const GoldenPicture& picture, std::ostream* out) { *out << picture.name; }

}  // namespace atelier::vision
