// What a fuzz target demands of a result; ends the process, which libFuzzer and ctest both notice.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "absl/status/status.h"

namespace atelier::fuzz {

inline void Check(bool held, const char* what) {
  if (held) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Bad bytes have three answers: wrong, too large, and (of a valid file) not what is asked for.
inline void CheckRefusal(const absl::Status& status) {
  const bool known = status.ok() || absl::IsInvalidArgument(status) ||
                     absl::IsResourceExhausted(status) || absl::IsFailedPrecondition(status);
  if (!known) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  Check(known, "INVALID_ARGUMENT, RESOURCE_EXHAUSTED or FAILED_PRECONDITION");
  Check(status.message().size() < 4096, "a message stays a message");
}

inline std::string_view Bytes(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace atelier::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
