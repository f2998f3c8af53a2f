// Where exceptions of LibTorch end: every call into it that leaves this code's hands goes through
// CatchTorchErrors. No torch header.
#pragma once

#include <exception>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"

namespace atelier::nn {

// What was thrown while `doing` ("load a model"): ResourceExhausted without memory, on the CPU or a
// GPU, else Internal.
absl::Status TorchErrorStatus(const std::exception& error, std::string_view doing);

// What `work` returns, a Status or StatusOr, or what it threw.
template <typename Work>
std::invoke_result_t<Work> CatchTorchErrors(std::string_view doing, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::exception& error) {
    return TorchErrorStatus(error, doing);
  }
}

}  // namespace atelier::nn
