// gRPC services whose requests are looked at before they are parsed (element_limits.h).
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "absl/status/status.h"
#include "common/rpc/status.h"

namespace atelier::aggregator {

// A request as it arrives: a type of its own, so that gRPC deserializes it as said below.
template <typename Message>
struct Bounded {
  Message message;  // nothing when refused
  absl::Status refusal;
};

// Errors as CheckElements; InvalidArgument when the bytes are no such message. Empties `bytes`.
absl::Status ParseBounded(grpc::ByteBuffer& bytes, google::protobuf::Message& message);

}  // namespace atelier::aggregator

namespace grpc {

template <typename Message>
class SerializationTraits<atelier::aggregator::Bounded<Message>> {
 public:
  // Never fails: gRPC would take that for the end of a stream.
  static Status Deserialize(ByteBuffer* bytes, atelier::aggregator::Bounded<Message>* request) {
    request->refusal = atelier::aggregator::ParseBounded(*bytes, request->message);
    return Status::OK;
  }
};

}  // namespace grpc

namespace atelier::aggregator {

inline grpc::ServerUnaryReactor* Finished(grpc::CallbackServerContext* context,
                                          const grpc::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

// `Base`: a generated CallbackService. Methods without a Bind answer UNIMPLEMENTED, and their
// requests are not parsed at all.
template <typename Base>
class BoundedService : public Base {
 protected:
  explicit BoundedService(const google::protobuf::ServiceDescriptor& descriptor)
      : descriptor_(descriptor) {
    using Unread = grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>;
    for (int i = 0; i < descriptor_.method_count(); ++i) {
      this->MarkMethodRawCallback(
          i, new Unread([](auto* context, auto*, auto*) {
            return Finished(context, {grpc::StatusCode::UNIMPLEMENTED, "there is no such call"});
          }));
    }
  }

  template <typename Handlers, typename Request, typename Response>
  void Bind(const std::string& method,
            grpc::ServerUnaryReactor* (Handlers::*handle)(grpc::CallbackServerContext*,
                                                          const Request*, Response*)) {
    auto* handlers = static_cast<Handlers*>(this);
    this->MarkMethodCallback(
        IndexOf(method), new grpc::internal::CallbackUnaryHandler<Bounded<Request>, Response>(
                             [handlers, handle](auto* context, auto* request, auto* response) {
                               return request->refusal.ok()
                                          ? (handlers->*handle)(context, &request->message,
                                                                response)
                                          : Finished(context, rpc::ToGrpcStatus(request->refusal));
                             }));
  }

  // `open(CallbackServerContext*)` returns the stream's reactor.
  template <typename Request, typename Response, typename Open>
  void BindStream(const std::string& method, Open open) {
    this->MarkMethodCallback(
        IndexOf(method),
        new grpc::internal::CallbackBidiHandler<Bounded<Request>, Response>(std::move(open)));
  }

 private:
  int IndexOf(const std::string& method) const {
    return descriptor_.FindMethodByName(method)->index();
  }

  const google::protobuf::ServiceDescriptor& descriptor_;
};

}  // namespace atelier::aggregator
