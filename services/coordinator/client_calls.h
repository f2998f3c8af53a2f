// What the three clients share: deadlines, retries, request ids.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"

namespace atelier::coordinator {

inline constexpr std::chrono::seconds kCallTimeout{30};

// Unique per process and call.
std::string NewRequestId();

// An idempotent unary call with a deadline, retried on UNAVAILABLE with a fresh context each.
template <typename Call>
absl::Status CallWithRetry(const Call& call, std::chrono::milliseconds timeout = kCallTimeout,
                           const rpc::RetryPolicy& policy = {}) {
  return rpc::RetryUnavailable(policy, rpc::RealSleeper(), [&] {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    return rpc::FromGrpcStatus(call(&context));
  });
}

}  // namespace atelier::coordinator
