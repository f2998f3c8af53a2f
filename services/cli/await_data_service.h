// For verbs that a coordinator refuses while no data-service is registered with it.
#pragma once

#include <memory>

#include "absl/status/status.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace atelier::cli {

// Gives the data-services of a coordinator that was just started 15 to 30 seconds to register, and
// says once that it waits. FailedPrecondition: none did.
absl::Status AwaitDataService(std::shared_ptr<grpc::Channel> coordinator);

}  // namespace atelier::cli
