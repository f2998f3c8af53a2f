#include "common/rpc/server.h"

#include <absl/synchronization/mutex.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_context.h>
#include <httplib.h>
#include <netinet/in.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/service_main.h"
#include "common/rpc/status.h"
#include "tests/testing/status_matchers.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

std::string FourThousandBytesOfHangul() {
  std::string text = "x";
  while (text.size() < 4'000) text += "\xea\xb0\x80";
  return text;
}

class EchoService final : public v1::AggregatorService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServedEnsemble(grpc::CallbackServerContext* context,
                                              const v1::GetServedEnsembleRequest*,
                                              v1::ServedEnsemble* response) override {
    response->mutable_ensemble()->set_name("echo");
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::AggregatorPredictRequest*,
                                    v1::AggregatorPredictResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(absl::NotFoundError(FourThousandBytesOfHangul())));
    return reactor;
  }
};

grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::ServedEnsemble response;
  return v1::AggregatorService::NewStub(channel)->GetServedEnsemble(&context, {}, &response);
}

TEST(RpcServer, AnswersOverTcpAndInProcessAndCountsTheSameCalls) {
  EchoService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  ASSERT_GT(server->port(), 0);
  ChannelOptions counted;
  counted.call_counter = std::make_shared<CallCounter>();
  auto in_process = MakeInProcessChannels(counted);
  in_process->Add("echo", server->server());
  EXPECT_TRUE(Call(in_process->Connect("inproc:echo")).ok());
  const auto embedded = counted.call_counter->Snapshot();

  ChannelOptions over_tcp;
  over_tcp.call_counter = std::make_shared<CallCounter>();
  auto tcp = MakeTcpChannelFactory(over_tcp);
  EXPECT_TRUE(Call(tcp->Connect("127.0.0.1:" + std::to_string(server->port()))).ok());
  EXPECT_EQ(over_tcp.call_counter->Snapshot(), embedded);
  EXPECT_EQ(embedded.at("/atelier.v1.AggregatorService/GetServedEnsemble"), 1);
}

TEST(RpcServer, ALongMessageInHangulArrivesWithItsCode) {
  EchoService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  const auto stub = v1::AggregatorService::NewStub(
      MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::AggregatorPredictResponse response;
  const grpc::Status status = stub->Predict(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND) << status.error_message();
  EXPECT_TRUE(FourThousandBytesOfHangul().starts_with(status.error_message()));
  EXPECT_GT(status.error_message().size(), 1'000);
}

TEST(RpcServer, NoProcessEndsOverTheOrderOfLocks) {
#ifndef NDEBUG
  GTEST_SKIP() << "without NDEBUG Abseil's checks stay on";
#endif
  EchoService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  absl::Mutex first;
  absl::Mutex second;
  {
    const absl::MutexLock outer(&first);
    const absl::MutexLock inner(&second);
  }
  const absl::MutexLock outer(&second);
  const absl::MutexLock inner(&first);  // "dying due to potential deadlock"
}

TEST(RpcServer, ATakenPortIsAClearError) {
  EchoService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  ServerOptions options;
  options.listen = "127.0.0.1:" + std::to_string(server->port());
  EchoService second;
  EXPECT_THAT(RpcServer::Start(options, {&second}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("taken")));
}

TEST(RpcServer, PlainTextBeyondLoopbackNeedsTheOperatorsWord) {
  EchoService service;
  ServerOptions options;
  options.listen = "0.0.0.0:0";
  EXPECT_THAT(RpcServer::Start(options, {&service}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--insecure")));
  options.insecure = true;
  EXPECT_THAT(RpcServer::Start(options, {&service}), testing::IsOk());
  for (const char* listen : {"nonsense", "127.0.0.1:", "[::1]", "::1"}) {
    options.listen = listen;
    EXPECT_THAT(RpcServer::Start(options, {&service}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("HOST:PORT")));
  }
}

bool HasIpv6Loopback() {
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool bound =
      fd >= 0 && ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  if (fd >= 0) ::close(fd);
  return bound;
}

TEST(RpcServer, ListensOnIpv6AndShowsItsMetricsThere) {
  if (!HasIpv6Loopback()) GTEST_SKIP() << "this machine has no IPv6 loopback";
  EchoService service;
  ServerOptions options;
  options.listen = "[::1]:0";
  options.metrics = std::make_shared<prometheus::Registry>();
  options.http_port = 0;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start(options, {&service}));
  EXPECT_TRUE(
      Call(MakeTcpChannelFactory()->Connect("[::1]:" + std::to_string(server->port()))).ok());
  EXPECT_TRUE(httplib::Client("::1", server->http_port()).Get("/metrics"));
}

TEST(RpcServer, AnUnknownInProcessNameIsUnavailable) {
  auto channels = MakeInProcessChannels();
  EXPECT_EQ(Call(channels->Connect("inproc:nobody")).error_code(), grpc::UNAVAILABLE);
}

TEST(RpcServer, AfterShutdownCallsAreUnavailable) {
  EchoService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  auto channels = MakeTcpChannelFactory();
  auto channel = channels->Connect("127.0.0.1:" + std::to_string(server->port()));
  EXPECT_TRUE(Call(channel).ok());
  server->Shutdown(std::chrono::seconds(1));
  server->Wait();
  EXPECT_EQ(Call(channel).error_code(), grpc::UNAVAILABLE);
}

// As the services' servers are to ServeUntilSignal; never reached, for the start fails.
struct NeverServer {
  RpcServer& server() { std::abort(); }
  void Drain(std::chrono::milliseconds) { std::abort(); }
};

TEST(ServeUntilSignal, AStartThatFailsIsExitCode1AndWrongUsage2) {
  const auto exit_code = [](const absl::Status& status) {
    return ServeUntilSignal(
        "test", std::chrono::milliseconds(0),
        [&]() -> absl::StatusOr<std::unique_ptr<NeverServer>> { return status; });
  };
  EXPECT_EQ(exit_code(absl::InvalidArgumentError("--root: an absolute folder")), 2);
  EXPECT_EQ(exit_code(absl::FailedPreconditionError("the port is taken")), 1);
  EXPECT_EQ(exit_code(absl::UnavailableError("disk")), 1);
}

}  // namespace
}  // namespace atelier::rpc
