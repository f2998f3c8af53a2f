#include "common/nn/torch_errors.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "absl/strings/str_cat.h"

namespace atelier::nn {
namespace {

// LibTorch's CPU allocator has no type of its own for this, only words.
bool SaysNoMemory(std::string_view what) {
  return what.find("can't allocate memory") != std::string_view::npos ||
         what.find("not enough memory") != std::string_view::npos;
}

}  // namespace

absl::Status TorchErrorStatus(const std::exception& error, std::string_view doing) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string what = torch != nullptr ? torch->what_without_backtrace() : error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr || SaysNoMemory(what)) {
    return absl::ResourceExhaustedError(absl::StrCat("not enough memory to ", std::string(doing)));
  }
  return absl::InternalError(absl::StrCat("LibTorch failed to ", std::string(doing), ": ", what));
}

}  // namespace atelier::nn
