#include "common/vision/guarded.h"

#include <new>
#include <opencv2/core.hpp>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace atelier::vision {

absl::Status ExceptionOf(std::string_view doing, const std::exception& error) {
  const std::string task(doing);
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return absl::ResourceExhaustedError("not enough memory to " + task);
  }
  std::string reason = error.what();
  if (const auto* of_opencv = dynamic_cast<const cv::Exception*>(&error)) {
    reason = of_opencv->err;
  } else if (const auto* of_system = dynamic_cast<const std::system_error*>(&error)) {
    reason = of_system->code().message();
  }
  return absl::ResourceExhaustedError(absl::StrCat("cannot ", task, ": ", reason));
}

}  // namespace atelier::vision
