// A trainer's stop is bounded, whatever it is waiting for: a registry that accepts every call and
// answers none, an aggregator that keeps its stream open.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>

#include <atomic>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "atelier/v1/data_service.grpc.pb.h"
#include "atelier/v1/fleet_service.grpc.pb.h"
#include "atelier/v1/registry.grpc.pb.h"
#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/trainer/service.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/trainer/scripted_training.h"

namespace atelier::trainer {
namespace {

// Far below what a download or a grace has (10 minutes), far above what a stop takes.
constexpr std::chrono::seconds kPrompt{20};
constexpr std::chrono::minutes kLong{10};

// Ends when its caller cancels.
template <typename Message>
class Silent final : public grpc::ServerWriteReactor<Message> {
  void OnCancel() override { this->Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }
};

// Gives every trainer that connects its task, with a lease that outlasts the test.
class OneTaskFleet final : public v1::FleetService::Service {
 public:
  grpc::Status Work(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::TrainerMessage>* stream) override {
    v1::TrainerMessage received;
    if (!stream->Read(&received)) return grpc::Status::OK;
    v1::CoordinatorMessage message;
    message.mutable_welcome()->set_lease_ttl_ms(
        static_cast<int>(std::chrono::milliseconds(kLong).count()));
    stream->Write(message);
    if (task.has_value()) {
      *message.mutable_assignment() = *task;
      stream->Write(message);
    }
    while (stream->Read(&received)) continue;
    return grpc::Status::OK;
  }
  grpc::Status CommitCheckpoint(grpc::ServerContext*, const v1::CommitCheckpointRequest*,
                                v1::CommitCheckpointResponse*) override {
    ++checkpoints;
    return grpc::Status::OK;
  }
  grpc::Status FinishTask(grpc::ServerContext*, const v1::FinishTaskRequest* request,
                          v1::FinishTaskResponse*) override {
    end = request->end();
    return grpc::Status::OK;
  }
  std::optional<v1::Assignment> task;  // set before there is a trainer
  std::atomic<int> checkpoints = 0;
  std::atomic<int> end = 0;
};

// Never sends a batch.
class SilentData final : public v1::DataService::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::Batch>* StreamBatches(grpc::CallbackServerContext*,
                                                     const v1::StreamBatchesRequest*) override {
    if (!told_.exchange(true)) asked.set_value();
    return new Silent<v1::Batch>;
  }
  std::promise<void> asked;

 private:
  std::atomic<bool> told_ = false;
};

// Never sends a byte, and has everything that it could be sent.
class SilentRegistry final : public v1::RegistryService::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::GetArtifactResponse>* GetArtifact(
      grpc::CallbackServerContext*, const v1::GetArtifactRequest*) override {
    if (!told_.exchange(true)) asked.set_value();
    return new Silent<v1::GetArtifactResponse>;
  }
  grpc::ServerUnaryReactor* StatArtifact(grpc::CallbackServerContext* context,
                                         const v1::StatArtifactRequest*,
                                         v1::StatArtifactResponse* response) override {
    response->set_exists(true);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  std::promise<void> asked;

 private:
  std::atomic<bool> told_ = false;
};

class TrainerStopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(coordinator, rpc::RpcServer::Start({}, {&registry, &fleet, &data}));
    address = "127.0.0.1:" + std::to_string(coordinator->port());
  }
  void StartTrainer() {
    TrainerOptions options;
    options.channels = channels;
    options.coordinator = address;
    options.threads = 1;
    ASSERT_OK_AND_ASSIGN(trainer, TrainerServer::Start(std::move(options)));
  }
  std::unique_ptr<grpc::ClientReaderWriter<v1::PredictRequest, v1::PredictResponse>>
  OpenPredictStream(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + 3 * kPrompt);
    return v1::TrainerService::NewStub(
               channels->Connect("127.0.0.1:" + std::to_string(trainer->server().port())))
        ->PredictStream(&context);
  }
  void ExpectDrainsPromptly(std::chrono::milliseconds grace) {
    auto drained = std::async(std::launch::async, [&] { trainer->Drain(grace); });
    EXPECT_EQ(drained.wait_for(kPrompt), std::future_status::ready);
    coordinator->Shutdown(std::chrono::milliseconds(0));  // so that it ends after all
  }

  std::shared_ptr<rpc::ChannelFactory> channels = rpc::MakeTcpChannelFactory();
  OneTaskFleet fleet;
  SilentRegistry registry;
  SilentData data;
  std::unique_ptr<rpc::RpcServer> coordinator;
  std::string address;  // of it
  std::unique_ptr<TrainerServer> trainer;
};

TEST_F(TrainerStopTest, WhileATasksWeightsAreOnTheirWay) {
  fleet.task = Task();
  fleet.task->set_initial_weights_digest(std::string(64, '0'));
  ASSERT_NO_FATAL_FAILURE(StartTrainer());
  registry.asked.get_future().wait();
  ExpectDrainsPromptly(std::chrono::milliseconds(200));
}

// What the grace is for.
TEST_F(TrainerStopTest, TheLastCheckpointIsStoredAndTheTaskGivenBack) {
  fleet.task = Task();
  fleet.task->add_data_addresses(address);
  ASSERT_NO_FATAL_FAILURE(StartTrainer());
  data.asked.get_future().wait();
  ExpectDrainsPromptly(kLong);
  EXPECT_EQ(fleet.checkpoints, 1);
  EXPECT_EQ(fleet.end, v1::FinishTaskRequest::RELEASED);
}

TEST_F(TrainerStopTest, WhileAPredictionWaitsForItsMember) {
  ASSERT_NO_FATAL_FAILURE(StartTrainer());
  grpc::ClientContext context;
  const auto stream = OpenPredictStream(context);
  v1::PredictRequest request;
  *request.mutable_model() = Task().model();
  request.set_weights_digest(std::string(64, '0'));
  ASSERT_TRUE(stream->Write(request));
  registry.asked.get_future().wait();
  ExpectDrainsPromptly(std::chrono::milliseconds(200));
  v1::PredictResponse answer;
  while (stream->Read(&answer)) continue;
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(TrainerStopTest, AnIdleStreamIsToldAndTakesNoGrace) {
  ASSERT_NO_FATAL_FAILURE(StartTrainer());
  grpc::ClientContext context;
  const auto stream = OpenPredictStream(context);
  v1::PredictRequest request;
  request.set_size(65);
  ASSERT_TRUE(stream->Write(request));
  v1::PredictResponse refused;
  ASSERT_TRUE(stream->Read(&refused));
  auto drained = std::async(std::launch::async, [&] { trainer->Drain(kLong); });
  EXPECT_FALSE(stream->Read(&refused));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(drained.wait_for(kPrompt), std::future_status::ready);
}

}  // namespace
}  // namespace atelier::trainer
