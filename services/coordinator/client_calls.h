// What the three clients share: deadlines, retries, request ids.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/cancellation.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"

namespace atelier::coordinator {

inline constexpr std::chrono::seconds kCallTimeout{30};

// Unique per process and call.
std::string NewRequestId();

// Of a call that its caller did not cancel: a server that stops answers those under way with
// CANCELLED after its grace, which means the same as UNAVAILABLE.
inline absl::Status EndOfCall(const grpc::Status& ended) {
  const absl::Status status = rpc::FromGrpcStatus(ended);
  if (!absl::IsCancelled(status)) return status;
  return absl::UnavailableError("the coordinator ended the call; it may be restarting");
}

// An idempotent call with a deadline, retried on UNAVAILABLE with a fresh context each. Ends at
// once when `cancellation` (may be null) is cancelled: CANCELLED, between two attempts the last
// one's error.
template <typename Call>
absl::Status CallWithRetry(const Call& call, std::chrono::milliseconds timeout = kCallTimeout,
                           rpc::Cancellation* cancellation = nullptr) {
  rpc::Sleeper sleep = rpc::RealSleeper();
  if (cancellation != nullptr) sleep = [&](auto pause) { return cancellation->Sleep(pause); };
  return rpc::RetryUnavailable(rpc::RetryPolicy(), sleep, [&]() -> absl::Status {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    const rpc::Cancellation::Scope scope(cancellation, context);
    const grpc::Status ended = call(&context);
    if (!ended.ok() && cancellation != nullptr && cancellation->cancelled()) {
      return absl::CancelledError("given up: the caller is stopping");
    }
    return EndOfCall(ended);
  });
}

}  // namespace atelier::coordinator
