// Where exceptions of this folder's work end: on a worker's thread an escaping one ends the
// process.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace atelier::vision {

// What `work` returns, a Status or StatusOr. An exception out of it (no memory, or OpenCV's own) is
// ResourceExhausted: what the bytes themselves can be blamed for has its own status already.
template <typename Work>
std::invoke_result_t<const Work&> Guarded(std::string_view doing, const Work& work) {
  try {
    return work();
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError(absl::StrCat("not enough memory to ", std::string(doing)));
  }
}

}  // namespace atelier::vision
