// How much the converter takes, whatever a file asks for. What it may do at all: confinement.h.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace atelier::convert {

// RLIMIT_AS: four times `input_bytes` (mapping, tensors, output, one tensor's copy) + 768 MiB;
// RLIMIT_CPU 10 minutes; RLIMIT_FSIZE a little above the largest output; no core files. The address
// space is not limited under the address sanitizer, which reserves terabytes of it.
absl::Status LimitOwnResources(uint64_t input_bytes);

}  // namespace atelier::convert
