#include "common/vision/resize.h"

#include <algorithm>
#include <mutex>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "common/vision/area_resize.h"

namespace atelier::vision {
namespace {

// Pillow's source index of every target index: the position is summed up in doubles, and that
// rounding decides ties, so it is repeated here step by step.
std::vector<int> NearestIndices(int from, int to) {
  const double step = static_cast<double>(static_cast<float>(from)) / to;
  std::vector<int> indices(static_cast<size_t>(to));
  double position = step * 0.5;
  for (int& index : indices) {
    index = std::min(static_cast<int>(position), from - 1);
    position += step;
  }
  return indices;
}

Image ResizeNearest(const Image& image, int size) {
  const std::vector<int> rows = NearestIndices(image.height, size);
  const std::vector<int> cols = NearestIndices(image.width, size);
  const int64_t channels = image.channels;
  Image out = Image::Make(size, size, image.channels);
  uint8_t* to = out.pixels.data();
  for (const int row : rows) {
    const uint8_t* line = image.pixels.data() + int64_t{row} * image.width * channels;
    for (const int col : cols) {
      for (int64_t c = 0; c < channels; ++c) *to++ = line[col * channels + c];
    }
  }
  return out;
}

cv::Mat View(const Image& image) {
  // OpenCV only reads through the pointer of a source.
  return cv::Mat(image.height, image.width, image.channels == 3 ? CV_8UC3 : CV_8UC1,
                 const_cast<uint8_t*>(image.pixels.data()));
}

// The callers run one picture per thread; OpenCV's own pool would only compete with them.
void KeepOpenCvOnThisThread() {
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(1); });
}

}  // namespace

Image Resize(const Image& image, const v1::ImageSpec& spec) {
  const int size = spec.size();
  if (image.height == size && image.width == size) return image;
  if (spec.filter() == v1::NEAREST) return ResizeNearest(image, size);
  const bool enlarge = image.height < size && image.width < size;
  if (spec.filter() != v1::BILINEAR && !enlarge) return ResizeByArea(image, size);
  KeepOpenCvOnThisThread();
  Image out = Image::Make(size, size, image.channels);
  cv::Mat target = View(out);
  cv::resize(View(image), target, target.size(), 0, 0, cv::INTER_LINEAR);
  return out;
}

}  // namespace atelier::vision
