// The one pair of conversions between absl::Status and grpc::Status.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace atelier::rpc {

// Codes map one to one; messages are cut, between characters, where they would take more than 4 KiB
// on the wire (three bytes for each that is not printable ASCII).
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace atelier::rpc
