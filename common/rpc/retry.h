// Retries for calls that the protos declare idempotent.
#pragma once

#include <chrono>
#include <functional>

#include "absl/status/status.h"

namespace atelier::rpc {

struct RetryPolicy {
  int max_attempts = 4;  // the first call included
  std::chrono::milliseconds first_backoff{100};
  std::chrono::milliseconds max_backoff{2'000};
};

// Sleeps that a test replaces and a shutdown cuts short: false means "stop retrying".
using Sleeper = std::function<bool(std::chrono::milliseconds)>;
Sleeper RealSleeper();

// Calls `attempt` until it returns anything but UNAVAILABLE, at most max_attempts times, with
// exponential back-off and seeded jitter (factor 0.5..1). Each attempt needs a fresh ClientContext.
absl::Status RetryUnavailable(const RetryPolicy& policy, const Sleeper& sleep,
                              const std::function<absl::Status()>& attempt);

}  // namespace atelier::rpc
