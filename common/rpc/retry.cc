#include "common/rpc/retry.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/base/philox.h"

namespace atelier::rpc {

Sleeper RealSleeper() {
  return [](std::chrono::milliseconds pause) {
    std::this_thread::sleep_for(pause);
    return true;
  };
}

absl::Status RetryUnavailable(const RetryPolicy& policy, const Sleeper& sleep,
                              const std::function<absl::Status()>& attempt) {
  // Jitter keeps callers that failed together from coming back together.
  static std::atomic<uint32_t> call{0};
  CounterRng jitter(/*seed=*/0, /*epoch=*/0, call.fetch_add(1), RandomOp::kBackoff);
  std::chrono::milliseconds backoff = policy.first_backoff;
  for (int n = 1;; ++n) {
    absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || n >= policy.max_attempts) return status;
    const double scaled = static_cast<double>(backoff.count()) * jitter.Uniform(0.5, 1.0);
    if (!sleep(std::chrono::milliseconds(static_cast<int64_t>(scaled)))) return status;
    backoff = std::min(2 * backoff, policy.max_backoff);
  }
}

}  // namespace atelier::rpc
