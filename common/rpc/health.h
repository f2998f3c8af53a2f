// Asks a server whether it serves (grpc.health.v1.Health/Check, overall health).
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"

namespace atelier::rpc {

// Over a connection of its own, never one that is open already: a server that accepts no more
// connections would still answer on an old one. Returns within `timeout` and a second, whatever
// gRPC does: true SERVING, false NOT_SERVING; Unavailable or DeadlineExceeded without an answer.
// The call is counted by nobody. With mutual TLS on loopback any name in the server's certificate
// will do: it may be made out to the name that other machines know this one by. Thread-safe.
absl::StatusOr<bool> AskHealth(const std::string& address, std::chrono::milliseconds timeout,
                               ChannelOptions how = {});

}  // namespace atelier::rpc
