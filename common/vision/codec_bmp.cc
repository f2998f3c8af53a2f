#include <cerrno>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "common/vision/picture_info.h"

namespace atelier::vision {

absl::StatusOr<Image> DecodeBmp(std::string_view bytes, const PictureInfo& info) {
  constexpr char kDamaged[] = "the BMP is cut or damaged";
  Image image = Image::Make(static_cast<int>(info.height), static_cast<int>(info.width), 3);
  try {
    // OpenCV only reads through the pointer.
    const cv::Mat encoded(1, static_cast<int>(bytes.size()), CV_8UC1,
                          const_cast<char*>(bytes.data()));
    errno = 0;  // OpenCV swallows what its decoder throws
    const cv::Mat decoded =
        cv::imdecode(encoded, info.has_alpha ? cv::IMREAD_UNCHANGED : cv::IMREAD_COLOR);
    if (decoded.empty() || decoded.cols != image.width || decoded.rows != image.height ||
        decoded.depth() != CV_8U) {
      return DamagedUnlessNoMemory(kDamaged);
    }
    if (decoded.channels() == 4) {
      ComposeOverWhite(decoded.ptr(), int64_t{image.width} * image.height, false,
                       image.pixels.data());
      return image;
    }
    cv::Mat rgb(image.height, image.width, CV_8UC3, image.pixels.data());
    cv::cvtColor(decoded, rgb, decoded.channels() == 1 ? cv::COLOR_GRAY2RGB : cv::COLOR_BGR2RGB);
  } catch (const cv::Exception& error) {
    if (error.code == cv::Error::StsNoMem) throw;  // the picture cannot be blamed for that
    return absl::InvalidArgumentError(kDamaged);
  }
  return image;
}

}  // namespace atelier::vision
