#include "common/rpc/cancellation.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <future>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "tests/testing/status_matchers.h"

namespace atelier::rpc {
namespace {

// Answers nobody until the caller gives up.
class SilentService final : public v1::AggregatorService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServedEnsemble(grpc::CallbackServerContext*,
                                              const v1::GetServedEnsembleRequest*,
                                              v1::ServedEnsemble*) override {
    class Silent final : public grpc::ServerUnaryReactor {
      void OnCancel() override { Finish(grpc::Status::CANCELLED); }
      void OnDone() override { delete this; }
    };
    asked.set_value();
    return new Silent;
  }
  std::promise<void> asked;  // once
};

TEST(Cancellation, EndsTheCallUnderWayAndThoseThatBeginLater) {
  SilentService service;
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start({}, {&service}));
  const auto stub = v1::AggregatorService::NewStub(
      MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  Cancellation cancellation;
  const auto call = [&] {
    grpc::ClientContext context;
    const Cancellation::Scope scope(&cancellation, context);
    v1::ServedEnsemble response;
    return stub->GetServedEnsemble(&context, {}, &response).error_code();
  };
  auto under_way = std::async(std::launch::async, call);
  service.asked.get_future().wait();
  cancellation.Cancel();
  EXPECT_EQ(under_way.get(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(call(), grpc::StatusCode::CANCELLED);
}

TEST(Cancellation, CutsASleepShort) {
  Cancellation cancellation;
  EXPECT_TRUE(cancellation.Sleep(std::chrono::milliseconds(1)));
  auto sleeping =
      std::async(std::launch::async, [&] { return cancellation.Sleep(std::chrono::hours(1)); });
  cancellation.Cancel();
  EXPECT_FALSE(sleeping.get());
  EXPECT_FALSE(cancellation.Sleep(std::chrono::hours(1)));
}

}  // namespace
}  // namespace atelier::rpc
