// A coordinator with a promoted version whose only member hangs: its trainer answers the warm-up,
// then nothing any more.
#pragma once

#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <string>

#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/aggregator/service.h"
#include "services/coordinator/client.h"
#include "services/coordinator/service.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::aggregator {

class HangingTrainer final : public v1::TrainerService::Service {
 public:
  grpc::Status PredictStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::PredictResponse, v1::PredictRequest>* stream) override {
    v1::PredictRequest request;
    while (stream->Read(&request)) {
      {
        MutexLock lock(mutex_);
        ++asked_;
        changed_.NotifyAll();
      }
      if (answered_.exchange(true)) continue;
      v1::PredictResponse response;
      response.set_id(request.id());
      response.mutable_probabilities()->set_rows(request.size());
      response.mutable_probabilities()->set_columns(2);
      response.mutable_probabilities()->mutable_data()->assign(
          static_cast<size_t>(request.size()) * 2 * sizeof(float), '\0');
      stream->Write(response);
    }
    return context->IsCancelled() ? grpc::Status::CANCELLED : grpc::Status::OK;
  }
  // The warm-up counts.
  void WaitAsked(int times) {
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return asked_ >= times; });
  }

 private:
  std::atomic<bool> answered_{false};
  Mutex mutex_;
  CondVar changed_;
  int asked_ ABSL_GUARDED_BY(mutex_) = 0;
};

class HangingMemberTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kPatience{60};

  void SetUp() override {
    coordinator::CoordinatorOptions options;
    options.state_dir = dir.path();
    options.channels = channels;
    options.lease_ttl = kPatience;
    ASSERT_OK_AND_ASSIGN(coordinator, coordinator::CoordinatorServer::Start(std::move(options)));
    const auto to_coordinator = channels->Connect(Address(coordinator->server()));
    const auto registry = coordinator::RegistryClient::Create(to_coordinator);
    ASSERT_OK_AND_ASSIGN(const SeededMember member, MakeSeededMember("only", "tiny_cnn", 32, 1));
    ASSERT_THAT(registry->PutBytes(member.weights), atelier::testing::IsOk());
    ASSERT_THAT(registry->Publish(MakeSeededVersion("seeded", {member}), true),
                atelier::testing::IsOk());
    ASSERT_OK_AND_ASSIGN(trainer_server, rpc::RpcServer::Start({}, {&trainer}));
    fleet = coordinator::FleetClient::Create(to_coordinator);
    work = fleet->OpenWork();
    v1::TrainerMessage hello;
    hello.mutable_hello()->set_trainer_id("hanging");
    hello.mutable_hello()->set_predict_address(Address(*trainer_server));
    ASSERT_TRUE(work->Send(hello));
    ASSERT_TRUE(work->Receive().has_value());
  }

  static std::string Address(rpc::RpcServer& server) {
    return "127.0.0.1:" + std::to_string(server.port());
  }
  // Of an aggregator that follows the coordinator and has no members of its own.
  ServiceOptions Options() {
    ServiceOptions options;
    options.coordinator = Address(coordinator->server());
    options.local = LocalMembers::kOff;
    return options;
  }

  atelier::testing::TempDir dir;
  const std::shared_ptr<rpc::ChannelFactory> channels = rpc::MakeTcpChannelFactory();
  std::unique_ptr<coordinator::CoordinatorServer> coordinator;
  HangingTrainer trainer;
  std::unique_ptr<rpc::RpcServer> trainer_server;
  std::unique_ptr<coordinator::FleetClient> fleet;
  std::unique_ptr<coordinator::WorkStream> work;
};

}  // namespace atelier::aggregator
