#include "services/aggregator/bounded_service.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include "common/base/status.h"
#include "common/rpc/status.h"
#include "services/aggregator/element_limits.h"

namespace atelier::aggregator {
namespace {

absl::Status Parse(grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  grpc::ProtoBufferReader looked_at(&bytes);
  ATELIER_RETURN_IF_ERROR(CheckElements(*message.GetDescriptor(), looked_at));
  grpc::ProtoBufferReader parsed(&bytes);
  if (message.ParseFromZeroCopyStream(&parsed)) return absl::OkStatus();
  message.Clear();
  return absl::InvalidArgumentError(rpc::kNoMessage);
}

}  // namespace

absl::Status ParseBounded(grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  const absl::Status status = Parse(bytes, message);
  bytes.Clear();  // the message has copied them
  return status;
}

}  // namespace atelier::aggregator
