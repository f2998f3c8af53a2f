// The one pair of conversions between absl::Status and grpc::Status.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace atelier::rpc {

// Codes map one to one; messages are cut, between characters, where they would take more than 4 KiB
// on the wire (three bytes for each that is not printable ASCII).
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

// What is said, with INVALID_ARGUMENT, of a request that cannot be parsed.
inline constexpr char kNoMessage[] =
    "the request's bytes are no message of this method, or a text in it is not UTF-8";

}  // namespace atelier::rpc
