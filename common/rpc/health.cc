#include "common/rpc/health.h"

#include <google/protobuf/empty.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <memory>
#include <optional>

#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/address.h"
#include "common/rpc/status.h"

namespace atelier::rpc {
namespace {

constexpr int kServing = 1;  // HealthCheckResponse.ServingStatus.SERVING
// Beyond the call's deadline: what gRPC may take to say that it has passed.
constexpr std::chrono::seconds kSlack{1};

// grpc.health.v1 is two messages of one field each: an empty request asks for overall health, and
// the answer's `status = 1` has the wire form of an Int32Value. No generated code is needed.
using HealthStub =
    grpc::TemplatedGenericStub<google::protobuf::Empty, google::protobuf::Int32Value>;

// Shared with gRPC's callback, which may come after the asker has given up.
struct Question {
  Question(const std::string& address, const ChannelOptions& how)
      : stub(MakeTcpChannelFactory(how)->Connect(address)) {}
  HealthStub stub;
  grpc::ClientContext context;
  google::protobuf::Empty request;
  google::protobuf::Int32Value response;
  Mutex mutex;
  CondVar done;
  std::optional<grpc::Status> ended ABSL_GUARDED_BY(mutex);
};

}  // namespace

absl::StatusOr<bool> AskHealth(const std::string& address, std::chrono::milliseconds timeout,
                               ChannelOptions how) {
  how.call_counter = nullptr;
  if (IsLoopback(HostOf(address))) how.peer_name = PeerName::kAny;
  auto question = std::make_shared<Question>(address, how);
  question->context.set_deadline(std::chrono::system_clock::now() + timeout);
  question->stub.UnaryCall(&question->context, "/grpc.health.v1.Health/Check", grpc::StubOptions(),
                           &question->request, &question->response,
                           [question](const grpc::Status& status) {
                             MutexLock lock(question->mutex);
                             question->ended = status;
                             question->done.NotifyAll();
                           });
  MutexLock lock(question->mutex);
  const bool ended = question->done.WaitFor(
      question->mutex, timeout + kSlack,
      [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return question->ended.has_value(); });
  if (!ended) {
    question->context.TryCancel();
    return absl::DeadlineExceededError("gRPC did not even report that the time was over");
  }
  ATELIER_RETURN_IF_ERROR(FromGrpcStatus(*question->ended));
  return question->response.value() == kServing;
}

}  // namespace atelier::rpc
