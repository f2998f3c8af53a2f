// RELIABILITY, "RPC": half-open streams, missing deadlines and a data-service that hangs, at the
// coordinator.
#include <limits>
#include <thread>

#include "tests/integration/bad_input/rpc_coordinator_fixture.h"
#include "tests/testing/garbage_call.h"
#include "tests/testing/log_lines.h"
#include "tests/testing/raw_http2.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::LogLines;
using ::atelier::testing::RawHttp2;
using ::atelier::testing::StatusIs;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A progress of nonsense renews the lease as any other, and can be watched and shown.
TEST_F(CoordinatorRpcs, NaNInAProgressHurtsNobody) {
  const std::string run_id = Submit(MakePlan({"a"}, {"train"}));
  auto stream = Connect("t1");
  const v1::Lease lease = Assigned(*stream).lease();
  v1::TrainerMessage message;
  v1::TaskProgress& progress = *message.mutable_progress();
  *progress.mutable_lease() = lease;
  progress.set_sequence(1);
  progress.set_loss(kNaN);
  progress.set_epochs(-1);
  progress.mutable_cursor()->set_step(std::numeric_limits<int>::min());
  progress.add_finished_epochs()->set_loss(kNaN);
  progress.set_news(1);
  ASSERT_TRUE(stream->Send(message));
  const auto answer = stream->Receive();
  ASSERT_TRUE(answer.has_value() && answer->has_renewed());
  EXPECT_EQ(answer->renewed().news_stored(), 1);
  EXPECT_THAT(runs_->Get(run_id), IsOk());
  ExpectNextGoodRequestSucceeds();
}

// Every progress with a lease it has not is answered; it reads none of the answers.
TEST_F(CoordinatorRpcs, ATrainerThatWritesAndNeverReadsIsLetGo) {
  const LogLines log;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto stream = fleet_stub_->Work(&context);
  v1::TrainerMessage message;
  message.mutable_hello()->set_trainer_id("deaf");
  ASSERT_TRUE(stream->Write(message));
  v1::Lease& lease = *message.mutable_progress()->mutable_lease();
  lease.set_run_id("none");
  lease.set_member(std::string(1 << 10, 'm'));  // the answers fill what the connection holds sooner
  constexpr int kFarTooMany = 20'000;
  int written = 0;
  while (written < kFarTooMany && stream->Write(message)) ++written;
  EXPECT_LT(written, kFarTooMany);
  EXPECT_LT(std::chrono::system_clock::now(), context.deadline());
  v1::CoordinatorMessage unread;
  while (stream->Read(&unread)) unread.Clear();  // the end comes after what was received before
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(log.Count("trainer deaf does not read"), 1);
  ExpectNextGoodRequestSucceeds();
}

// Half-open: the peer has begun a call, sends no more and answers no ping.
TEST_F(CoordinatorRpcs, HalfOpenStreamsAreLetGo) {
  server_.reset();
  options_.server.keepalive = std::chrono::milliseconds(300);
  options_.server.keepalive_timeout = std::chrono::milliseconds(200);
  ASSERT_NO_FATAL_FAILURE(StartServer());
  ASSERT_NO_FATAL_FAILURE(RegisterData());
  for (const char* method :
       {"/atelier.v1.FleetService/Work", "/atelier.v1.RegistryService/PutArtifact",
        "/atelier.v1.CoordinatorService/SubmitRun", "/atelier.v1.RegistryService/WatchPromoted"}) {
    RawHttp2 connection(port_);
    ASSERT_TRUE(connection.Greet() && connection.BeginCall(1, method));
    ASSERT_TRUE(connection.SendData(1, std::string("\0\0\0\1", 4)));
    ExpectNextGoodRequestSucceeds();
    EXPECT_TRUE(connection.ReadUntilClosed(kPatience)) << method;
    ExpectNextGoodRequestSucceeds();
  }
}

// Bytes that are no message, where one request is expected.
TEST_F(CoordinatorRpcs, GarbageIsAnInvalidArgument) {
  for (const char* method :
       {"/atelier.v1.CoordinatorService/GetRun", "/atelier.v1.CoordinatorService/WatchRun"}) {
    for (const std::string& bytes : atelier::testing::Garbage()) {
      EXPECT_THAT(atelier::testing::CallWithBytes(Channel(), method, bytes, kPatience),
                  StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("UTF-8")));
      ExpectNextGoodRequestSucceeds();
    }
  }
}

// A data-service that accepts calls and never answers.
class HangingDataService final : public v1::DataService::Service {
 public:
  grpc::Status DescribeDataset(grpc::ServerContext* context, const v1::DescribeDatasetRequest*,
                               grpc::ServerWriter<v1::DescribeDatasetResponse>*) override {
    return Hang(*context);
  }
  grpc::Status Preview(grpc::ServerContext* context, const v1::PreviewRequest*,
                       v1::PreviewResponse*) override {
    return Hang(*context);
  }

 private:
  static grpc::Status Hang(grpc::ServerContext& context) {
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  }
};

class HangingDataTest : public CoordinatorRpcs {
 protected:
  void SetUp() override {
    options_.imposed_deadline = std::chrono::milliseconds(400);
    ServerTest::SetUp();  // NOLINT(bugprone-parent-virtual-call): without the data service
    ASSERT_OK_AND_ASSIGN(hanging_server_, rpc::RpcServer::Start({}, {&hanging_}));
    ASSERT_THAT(RegisterDataAs("hangs", "127.0.0.1:" + std::to_string(hanging_server_->port())),
                IsOk());
  }

  HangingDataService hanging_;
  std::unique_ptr<rpc::RpcServer> hanging_server_;
};

TEST_F(HangingDataTest, ACallWithoutADeadlineGetsOne) {
  EXPECT_EQ(CoordinatorOptions().imposed_deadline, std::chrono::seconds(30));
  EXPECT_EQ(CoordinatorOptions().lease_ttl, std::chrono::seconds(15));
  grpc::ClientContext context;  // none
  v1::SubmitRunRequest request;
  request.set_request_id("x");
  *request.mutable_plan() = MakePlan({"a"}, {"train"});
  v1::SubmitRunResponse response;
  EXPECT_THAT(rpc::FromGrpcStatus(run_stub_->SubmitRun(&context, request, &response)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

// More of them than the coordinator has threads: everything else goes on.
TEST_F(HangingDataTest, WaitingForADataServiceHoldsNobodyElseUp) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::DescribeDatasetResponse>>> waiting;
  for (int i = 0; i < 40; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    contexts.back()->set_deadline(std::chrono::system_clock::now() + kPatience);
    waiting.push_back(run_stub_->InspectDataset(contexts.back().get(), {}));
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(registry_->Publish(GoodEnsemble("birds"), false), IsOk());
    EXPECT_THAT(runs_->List(), IsOk());
  }
  auto trainer = Connect("t1");
  for (const auto& context : contexts) context->TryCancel();
  for (const auto& reader : waiting) EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace atelier::coordinator
