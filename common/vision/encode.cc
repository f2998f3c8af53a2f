#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "common/vision/decode.h"

namespace atelier::vision {

std::string EncodePng(const Image& image) {
  // OpenCV only reads through the pointer.
  const cv::Mat pixels(image.height, image.width, image.channels == 3 ? CV_8UC3 : CV_8UC1,
                       const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat bgr = pixels;
  if (image.channels == 3) cv::cvtColor(pixels, bgr, cv::COLOR_RGB2BGR);
  std::vector<uint8_t> png;
  cv::imencode(".png", bgr, png);
  return std::string(png.begin(), png.end());
}

}  // namespace atelier::vision
