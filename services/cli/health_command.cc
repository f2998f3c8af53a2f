// atelier health HOST:PORT: what container health checks run (grpc.health.v1).
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "services/cli/command.h"

namespace atelier::cli {
namespace {

constexpr std::chrono::seconds kDeadline{5};
constexpr int kServing = 1;  // HealthCheckResponse.ServingStatus.SERVING

// grpc.health.v1 is two messages of one field each: an empty request asks for overall health, and
// the answer's `status = 1` has the wire form of an Int32Value. No generated code is needed.
using HealthStub =
    grpc::TemplatedGenericStub<google::protobuf::Empty, google::protobuf::Int32Value>;

absl::StatusOr<int> AskHealth(const std::string& address) {
  HealthStub stub(rpc::MakeTcpChannelFactory()->Connect(address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  context.set_wait_for_ready(false);
  google::protobuf::Empty request;
  google::protobuf::Int32Value response;
  Mutex mutex;
  CondVar done;
  bool finished = false;
  grpc::Status status;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&](grpc::Status ended) {
                   MutexLock lock(mutex);
                   status = std::move(ended);
                   finished = true;
                   done.NotifyAll();
                 });
  MutexLock lock(mutex);
  done.Wait(mutex, [&] { return finished; });
  ATELIER_RETURN_IF_ERROR(rpc::FromGrpcStatus(status));
  return response.value();
}

int Health(const std::string& address) {
  const absl::StatusOr<int> health = AskHealth(address);
  if (!health.ok()) {
    return Fail(absl::UnavailableError(
        absl::StrCat(address, ": ", std::string(health.status().message()))));
  }
  std::printf("%s %s\n", address.c_str(), *health == kServing ? "SERVING" : "NOT_SERVING");
  return *health == kServing ? kDone : kFailed;
}

}  // namespace

void AddHealthCommand(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(app, "health", "Ask a service whether it serves (exit code 0 or 1)",
                           "  atelier health 127.0.0.1:7070");
  auto address = std::make_shared<std::string>();
  verb->add_option("address", *address, "Any of the four services")
      ->required()
      ->type_name("HOST:PORT");
  verb->callback([address, &context] { context.exit_code = Health(*address); });
}

}  // namespace atelier::cli
