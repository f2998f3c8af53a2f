// Asks a server whether it serves (grpc.health.v1.Health/Check, overall health).
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace atelier::rpc {

// Over a connection of its own, never one that is open already: a server that accepts no more
// connections would still answer on an old one. Returns within `timeout` and a second, whatever
// gRPC does: true SERVING, false NOT_SERVING; Unavailable or DeadlineExceeded without an answer.
// The call is not counted by CallCounterFromEnvironment. Thread-safe.
absl::StatusOr<bool> AskHealth(const std::string& address, std::chrono::milliseconds timeout);

}  // namespace atelier::rpc
