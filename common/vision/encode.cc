#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "common/vision/decode.h"
#include "common/vision/guarded.h"

namespace atelier::vision {

absl::StatusOr<std::string> EncodePng(const Image& image) {
  if (image.pixels.empty()) return absl::InvalidArgumentError("an image without pixels has no PNG");
  return Guarded("encode the picture", [&]() -> absl::StatusOr<std::string> {
    // OpenCV only reads through the pointer.
    cv::Mat pixels(image.height, image.width, image.channels == 3 ? CV_8UC3 : CV_8UC1,
                   const_cast<uint8_t*>(image.pixels.data()));
    if (image.channels == 3) {
      cv::Mat bgr;
      cv::cvtColor(pixels, bgr, cv::COLOR_RGB2BGR);
      pixels = bgr;
    }
    std::vector<uint8_t> png;
    if (!cv::imencode(".png", pixels, png)) {
      return absl::ResourceExhaustedError("cannot encode the picture");
    }
    return std::string(png.begin(), png.end());
  });
}

}  // namespace atelier::vision
