// FleetService's handlers without a socket, on pools that take no more.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "services/coordinator/fleet_service.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/full_pool.h"
#include "tests/testing/memory_store.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::FullPool;
using ::atelier::testing::StatusIs;

// For waits that end at once unless something is broken.
constexpr std::chrono::seconds kPatience{60};

class FleetInProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(database_, OpenSqliteStore(dir_.path() / "state.db",
                                                    [](const std::string& why) { FAIL() << why; }));
    ASSERT_OK_AND_ASSIGN(executor_, RunExecutor::Create({}, *database_, artifacts_, clock_));
    fleet_ = std::make_unique<FleetServiceImpl>(*executor_, pool_, slow_);
    rpc::ServerOptions options;
    options.in_process_only = true;
    ASSERT_OK_AND_ASSIGN(server_, rpc::RpcServer::Start(options, {fleet_.get()}));
    channels_->Add("fleet", server_->server());
    stub_ = v1::FleetService::NewStub(channels_->Connect("inproc:fleet"));
  }
  void TearDown() override {
    stub_.reset();
    channels_->Remove("fleet");
    server_.reset();
  }
  // Of a run that there is not.
  absl::Status Finish() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::FinishTaskRequest request;
    request.set_request_id("id");
    request.mutable_lease()->set_run_id("none");
    request.set_end(v1::FinishTaskRequest::FAILED);
    v1::FinishTaskResponse response;
    return rpc::FromGrpcStatus(stub_->FinishTask(&context, request, &response));
  }
  absl::Status Commit() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::CommitCheckpointRequest request;
    request.set_request_id("id");
    request.mutable_lease()->set_run_id("none");
    v1::CommitCheckpointResponse response;
    return rpc::FromGrpcStatus(stub_->CommitCheckpoint(&context, request, &response));
  }

  testing::TempDir dir_;
  testing::FakeClock clock_;
  testing::MemoryStore artifacts_;
  std::unique_ptr<Store> database_;
  std::unique_ptr<RunExecutor> executor_;
  WorkerPool pool_{1, 1};
  WorkerPool slow_{1, 1};
  std::unique_ptr<FleetServiceImpl> fleet_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::shared_ptr<rpc::InProcessChannels> channels_ = rpc::MakeInProcessChannels();
  std::unique_ptr<v1::FleetService::Stub> stub_;
};

// The end of a failed task reads whole checkpoints; leases are renewed on the other pool.
TEST_F(FleetInProcessTest, EndsOfTasksAndEverythingElseDoNotWaitForEachOther) {
  {
    FullPool full(slow_);
    EXPECT_THAT(Commit(), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(Finish(), StatusIs(absl::StatusCode::kUnavailable));
    full.Release();
  }
  FullPool full(pool_);
  EXPECT_THAT(Finish(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Commit(), StatusIs(absl::StatusCode::kUnavailable));
  full.Release();
}

}  // namespace
}  // namespace atelier::coordinator
