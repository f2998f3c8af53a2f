// Where exceptions of LibTorch end. Torch header.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace atelier::trainer {

// What `work` returns, a Status or StatusOr. An exception out of it is ResourceExhausted without
// memory, else Internal.
template <typename Work>
std::invoke_result_t<Work> CatchTorchErrors(Work&& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory");
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace atelier::trainer
