// A data-service and its coordinator: how it registers, and in what order it leaves.
#include "services/data/service.h"

#include <grpcpp/server_context.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/health.h"
#include "common/rpc/server.h"
#include "services/data/registration.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::AnyOf;

constexpr std::chrono::seconds kPatience{30};

// Registers whoever comes. Good-byes are told.
class Coordinator final : public v1::FleetService::Service {
 public:
  grpc::Status RegisterDataService(grpc::ServerContext* context,
                                   const v1::RegisterDataServiceRequest* request,
                                   v1::RegisterDataServiceResponse* response) override {
    if (request->leaving()) {
      on_goodbye();
      return grpc::Status::OK;
    }
    if (silent) {
      asked.set_value();
      while (!context->IsCancelled()) std::this_thread::yield();
      ended_early.set_value(std::chrono::system_clock::now() < context->deadline());
      return grpc::Status::CANCELLED;
    }
    response->set_ttl_ms(60'000);
    asked.set_value();
    return grpc::Status::OK;
  }

  bool silent = false;
  std::function<void()> on_goodbye = [] {};
  std::promise<void> asked;
  std::promise<bool> ended_early;
};

std::string AddressOf(rpc::RpcServer& server) {
  return "127.0.0.1:" + std::to_string(server.port());
}

TEST(DataServiceTest, DefaultsAreThoseOfThePage) {
  const DataServiceOptions options;
  EXPECT_EQ(options.window_bytes, 256 << 20);
  EXPECT_EQ(options.cache_bytes, 1 << 30);
}

TEST(DataServiceTest, IsNotServingBeforeItSaysGoodbye) {
  Coordinator coordinator;
  ASSERT_OK_AND_ASSIGN(const auto at, rpc::RpcServer::Start({}, {&coordinator}));
  const testing::TempDir root;
  DataServiceOptions options;
  options.root = root.path();
  options.threads = 1;
  options.channels = rpc::MakeTcpChannelFactory();
  options.coordinator = AddressOf(*at);
  ASSERT_OK_AND_ASSIGN(const auto server, DataServer::Start(std::move(options)));
  const std::string address = AddressOf(server->server());
  EXPECT_THAT(rpc::AskHealth(address, kPatience), IsOkAndHolds(true));
  coordinator.asked.get_future().wait();
  absl::StatusOr<bool> serving = absl::UnknownError("no good-bye came");
  coordinator.on_goodbye = [&] { serving = rpc::AskHealth(address, kPatience); };
  server->Drain(std::chrono::milliseconds(0));
  at->Shutdown(kPatience);
  // Or, on a machine so slow that the second was over first, nobody listens any more.
  EXPECT_THAT(serving, AnyOf(IsOkAndHolds(false), StatusIs(absl::StatusCode::kUnavailable)));
}

TEST(DataServiceTest, ACoordinatorThatDoesNotAnswerHoldsNoGoodbyeUp) {
  Coordinator coordinator;
  coordinator.silent = true;
  ASSERT_OK_AND_ASSIGN(const auto at, rpc::RpcServer::Start({}, {&coordinator}));
  bool goodbye = false;
  coordinator.on_goodbye = [&] { goodbye = true; };
  auto registration =
      Registration::Start(rpc::MakeTcpChannelFactory()->Connect(AddressOf(*at)), "data-1", ":7071");
  coordinator.asked.get_future().wait();
  registration.reset();
  EXPECT_TRUE(coordinator.ended_early.get_future().get()) << "the call ran until its deadline";
  at->Shutdown(kPatience);
  EXPECT_TRUE(goodbye);
}

}  // namespace
}  // namespace atelier::data
