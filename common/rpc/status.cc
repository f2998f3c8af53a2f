#include "common/rpc/status.h"

#include <string>

namespace atelier::rpc {
namespace {

// Metadata (and so the status message) counts against HTTP/2 header limits of 8 KiB.
constexpr size_t kMaxMessage = 4096;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (message.size() > kMaxMessage) message.resize(kMaxMessage);
  return {static_cast<grpc::StatusCode>(status.code()), message};
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace atelier::rpc
