#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "common/vision/decode.h"

namespace atelier::vision {

std::string EncodePng(const Image& image) {
  // OpenCV only reads through the pointer.
  const cv::Mat pixels(image.height, image.width, image.channels == 3 ? CV_8UC3 : CV_8UC1,
                       const_cast<uint8_t*>(image.pixels.data()));
  std::vector<uint8_t> png;
  try {
    if (image.channels == 3) {
      cv::Mat bgr;
      cv::cvtColor(pixels, bgr, cv::COLOR_RGB2BGR);
      cv::imencode(".png", bgr, png);
    } else {
      cv::imencode(".png", pixels, png);
    }
  } catch (const cv::Exception&) {
    return {};
  }
  return std::string(png.begin(), png.end());
}

}  // namespace atelier::vision
