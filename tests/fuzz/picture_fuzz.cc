#include "common/vision/decode.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  namespace vision = atelier::vision;
  const std::string_view bytes = atelier::fuzz::Bytes(data, size);
  vision::DecodeLimits limits;
  limits.max_pixels = 1 << 18;  // the checks are the same, a picture takes no second
  limits.max_side = 2048;
  const auto header = vision::ReadPictureHeader(bytes, limits);
  atelier::fuzz::CheckRefusal(header.status());
  for (const int channels : {3, 1}) {
    const auto image = vision::DecodePicture(bytes, channels, limits);
    atelier::fuzz::CheckRefusal(image.status());
    if (!image.ok()) continue;
    Check(header.ok(), "what decodes has a header");
    Check(image->width == header->oriented_width && image->height == header->oriented_height,
          "the picture is as large as its header says");
    Check(image->pixels.size() == static_cast<size_t>(image->width) *
                                      static_cast<size_t>(image->height) *
                                      static_cast<size_t>(channels),
          "every pixel is there");
  }
  return 0;
}
