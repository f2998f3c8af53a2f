// Where exceptions of this folder's work end: on a worker's thread an escaping one ends the
// process.
#pragma once

#include <exception>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"

namespace atelier::vision {

// What Guarded makes of `error`. Its own text is told, without the paths that OpenCV and the file
// system put around theirs.
absl::Status ExceptionOf(std::string_view doing, const std::exception& error);

// What `work` returns, a Status or StatusOr. An exception out of it (no memory, or OpenCV's own) is
// ResourceExhausted: what the bytes themselves can be blamed for has its own status already.
template <typename Work>
std::invoke_result_t<const Work&> Guarded(std::string_view doing, const Work& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return ExceptionOf(doing, error);
  }
}

}  // namespace atelier::vision
