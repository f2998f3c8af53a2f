// Bytes that are no message, sent by a stub that does not look at them.
#pragma once

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/rpc/status.h"

namespace atelier::testing {

inline std::vector<std::string> Garbage() {
  return {std::string(100, '\xff'), "\x0a\x7f", "\x0a\x02\xc3\x28" /* not UTF-8 */};
}

// What the server says of one request of these bytes.
inline absl::Status CallWithBytes(const std::shared_ptr<grpc::Channel>& channel,
                                  const std::string& method, const std::string& bytes,
                                  std::chrono::seconds patience) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  grpc::Slice slice(bytes);
  grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> ended;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&](const grpc::Status& status) { ended.set_value(status); });
  return rpc::FromGrpcStatus(ended.get_future().get());
}

}  // namespace atelier::testing
