#include "common/rpc/status.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "common/base/utf8.h"

namespace atelier::rpc {
namespace {

// Metadata (and so the status message) counts against HTTP/2 header limits of 8 KiB.
constexpr size_t kMaxMessage = 4096;

// Bytes that gRPC sends for a byte of a message: it percent-encodes what is not printable ASCII.
size_t EncodedBytes(char c) {
  constexpr size_t kPercentEncoded = 3;
  return c < ' ' || c > '~' || c == '%' ? kPercentEncoded : 1;
}

// The longest beginning whose encoding fits, no character cut.
std::string_view Cut(std::string_view message) {
  size_t kept = 0;
  size_t encoded = 0;
  while (kept < message.size()) {
    const size_t length = std::max<size_t>(1, Utf8CharacterLength(message.substr(kept)));
    for (const char c : message.substr(kept, length)) encoded += EncodedBytes(c);
    if (encoded > kMaxMessage) break;
    kept += length;
  }
  return message.substr(0, kept);
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view message = status.message();
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(Cut({message.data(), message.size()}))};
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace atelier::rpc
