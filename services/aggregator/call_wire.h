// What both APIs' handlers share: deadlines in, statuses out.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <chrono>

#include "absl/status/status.h"

namespace atelier::aggregator {

// The call's deadline on the steady clock; `imposed` from now when the client set none.
std::chrono::steady_clock::time_point DeadlineOf(const grpc::ServerContextBase& context,
                                                 std::chrono::milliseconds imposed);

// Converts, and for overload adds grpc-retry-pushback-ms to the trailing metadata. Call before
// Finish.
grpc::Status ToCallStatus(const absl::Status& status, grpc::ServerContextBase& context);

}  // namespace atelier::aggregator
