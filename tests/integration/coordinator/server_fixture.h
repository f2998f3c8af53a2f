// A real coordinator on loopback, a data-service that answers from memory, and trainers that do
// what the test says.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "atelier/v1/coordinator.grpc.pb.h"
#include "atelier/v1/data_service.grpc.pb.h"
#include "atelier/v1/fleet_service.grpc.pb.h"
#include "atelier/v1/registry.grpc.pb.h"
#include "common/base/sha256.h"
#include "common/ensemble/npy.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "services/coordinator/client.h"
#include "services/coordinator/service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/coordinator/plans.h"

namespace atelier::coordinator {

// For waits that end at once unless something is broken.
inline constexpr std::chrono::seconds kPatience{60};

// Knows every dataset but "missing".
class FakeDataService final : public v1::DataService::Service {
 public:
  grpc::Status DescribeDataset(grpc::ServerContext*, const v1::DescribeDatasetRequest* request,
                               grpc::ServerWriter<v1::DescribeDatasetResponse>* writer) override {
    if (request->dataset() == "missing") {
      return {grpc::StatusCode::NOT_FOUND, "no folder missing; there are: birds"};
    }
    v1::DescribeDatasetResponse response;
    response.mutable_progress()->set_files_total(12);
    writer->Write(response);
    *response.mutable_summary() = MakeSummary();
    writer->Write(response);
    if (request->want_manifest()) {
      for (int i = 0; i < 3; ++i) {
        response.mutable_manifest()->add_samples()->set_file("jay/" + std::to_string(i));
      }
      writer->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status Preview(grpc::ServerContext*, const v1::PreviewRequest* request,
                       v1::PreviewResponse* response) override {
    for (int i = 0; i < request->count(); ++i) response->add_pictures()->set_png("png");
    return grpc::Status::OK;
  }
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(StartServer());
    ASSERT_OK_AND_ASSIGN(data_server_, rpc::RpcServer::Start({}, {&data_}));
  }
  void TearDown() override {
    server_.reset();
    data_server_.reset();
  }

  // The same state and the same port as before, if there was one.
  void StartServer() {
    CoordinatorOptions options = options_;
    options.state_dir = dir_.path();
    options.channels = channels_;
    options.lease_ttl = kPatience;  // the scripted trainers send no heartbeats
    options.server.http_port = 0;
    if (port_ != 0) options.server.listen = "127.0.0.1:" + std::to_string(port_);
    ASSERT_OK_AND_ASSIGN(server_, CoordinatorServer::Start(std::move(options)));
    port_ = server_->server().port();
    // A channel of its own: one that saw the old server go waits before it connects again.
    channels_ = rpc::MakeTcpChannelFactory();
    const auto channel = Channel();
    runs_ = RunClient::Create(channel);
    fleet_ = FleetClient::Create(channel);
    registry_ = RegistryClient::Create(channel);
    run_stub_ = v1::CoordinatorService::NewStub(channel);
    fleet_stub_ = v1::FleetService::NewStub(channel);
    registry_stub_ = v1::RegistryService::NewStub(channel);
  }
  std::shared_ptr<grpc::Channel> Channel() {
    return channels_->Connect("127.0.0.1:" + std::to_string(port_));
  }
  void RegisterData() {
    v1::RegisterDataServiceRequest request;
    request.set_id("data");
    request.set_address(":" + std::to_string(data_server_->port()));  // the host is the peer's
    v1::RegisterDataServiceResponse response;
    grpc::ClientContext context;
    const grpc::Status status = fleet_stub_->RegisterDataService(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_GT(response.ttl_ms(), 0);
  }
  std::string Submit(const v1::RunPlan& plan) {
    auto response = runs_->Submit(plan);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->run_id() : "";
  }

  // ---- a trainer's calls
  std::unique_ptr<WorkStream> Connect(const std::string& trainer,
                                      const v1::Lease* current = nullptr) {
    auto stream = fleet_->OpenWork();
    v1::TrainerMessage hello;
    hello.mutable_hello()->set_trainer_id(trainer);
    hello.mutable_hello()->set_predict_address(":4711");
    if (current != nullptr) *hello.mutable_hello()->mutable_current() = *current;
    EXPECT_TRUE(stream->Send(hello));
    const auto welcome = stream->Receive();
    EXPECT_TRUE(welcome.has_value() && welcome->has_welcome());
    return stream;
  }
  // Blocks; other messages before it are dropped.
  static v1::Assignment Assigned(WorkStream& stream) {
    while (auto message = stream.Receive()) {
      if (message->has_assignment()) return message->assignment();
    }
    ADD_FAILURE() << "the stream ended without an assignment: " << stream.Finish();
    return {};
  }
  // Blocks until the coordinator has answered.
  static void Progress(WorkStream& stream, const v1::Lease& lease, int64_t sequence) {
    v1::TrainerMessage message;
    v1::TaskProgress& progress = *message.mutable_progress();
    *progress.mutable_lease() = lease;
    progress.mutable_cursor()->set_step(static_cast<int>(sequence));
    progress.set_sequence(sequence);
    progress.add_log_lines("step " + std::to_string(sequence));  // makes it an event
    progress.set_news(sequence);
    ASSERT_TRUE(stream.Send(message));
    const auto answer = stream.Receive();
    ASSERT_TRUE(answer.has_value());
    ASSERT_TRUE(answer->has_renewed()) << answer->ShortDebugString();
    EXPECT_EQ(answer->renewed().sequence(), sequence);
    EXPECT_EQ(answer->renewed().news_stored(), sequence);
  }
  void Commit(const v1::Lease& lease, int step) {
    v1::CommitCheckpointRequest request;
    *request.mutable_lease() = lease;
    request.mutable_cursor()->set_step(step);
    request.set_digest(*registry_->PutBytes("checkpoint at " + std::to_string(step)));
    request.add_applied()->set_step(step - 1);
    EXPECT_THAT(fleet_->CommitCheckpoint(request), atelier::testing::IsOk());
  }
  absl::Status Finish(const v1::Lease& lease) {
    v1::FinishTaskRequest request;
    *request.mutable_lease() = lease;
    request.set_end(v1::FinishTaskRequest::DONE);
    v1::TaskResult& result = *request.mutable_result();
    result.set_weights_digest(*registry_->PutBytes("weights of " + lease.member()));
    result.set_validation_probabilities_digest(
        *registry_->PutBytes(ensemble::ToNpy({2, 2, {0.75F, 0.25F, 0.25F, 0.75F}})));
    result.set_validation_labels_digest(
        *registry_->PutBytes(ensemble::ToNpy(std::vector<int>{0, 1})));
    result.set_validation_loss(0.3);
    return fleet_->FinishTask(request);
  }

  atelier::testing::TempDir dir_;
  CoordinatorOptions options_;
  std::shared_ptr<rpc::ChannelFactory> channels_ = rpc::MakeTcpChannelFactory();
  FakeDataService data_;
  std::unique_ptr<rpc::RpcServer> data_server_;
  std::unique_ptr<CoordinatorServer> server_;
  int port_ = 0;
  std::unique_ptr<RunClient> runs_;
  std::unique_ptr<FleetClient> fleet_;
  std::unique_ptr<RegistryClient> registry_;
  std::unique_ptr<v1::CoordinatorService::Stub> run_stub_;
  std::unique_ptr<v1::FleetService::Stub> fleet_stub_;
  std::unique_ptr<v1::RegistryService::Stub> registry_stub_;
};

}  // namespace atelier::coordinator
