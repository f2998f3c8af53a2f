#include "services/aggregator/call_wire.h"

#include <algorithm>
#include <string>

#include "common/rpc/status.h"
#include "services/aggregator/admission.h"

namespace atelier::aggregator {

std::chrono::steady_clock::time_point DeadlineOf(const grpc::ServerContextBase& context,
                                                 std::chrono::milliseconds imposed) {
  // Longer than any sensible call: "none" arrives as a point of time that cannot be calculated
  // with.
  constexpr std::chrono::hours kEndless{24};
  const auto now = std::chrono::system_clock::now();
  const auto deadline = context.deadline();
  const auto steady = std::chrono::steady_clock::now();
  if (deadline > now + kEndless) return steady + imposed;
  return steady + std::chrono::duration_cast<std::chrono::steady_clock::duration>(deadline - now);
}

grpc::Status ToCallStatus(const absl::Status& status, grpc::ServerContextBase& context) {
  if (const auto pushback = PushbackOf(status); pushback.has_value()) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(pushback->count()));
  }
  return rpc::ToGrpcStatus(status);
}

}  // namespace atelier::aggregator
