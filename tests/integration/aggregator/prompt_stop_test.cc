// An aggregator goes at once, whatever it is waiting for: a coordinator that accepts every call and
// answers none.
#include <gmock/gmock.h>

#include <future>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "atelier/v1/registry.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/aggregator/service.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;

// Far below what the calls under way have (10 minutes, 30 seconds), far above what a stop takes.
constexpr std::chrono::seconds kPrompt{10};

// Ends when its caller cancels.
template <typename Base>
class Hanging final : public Base {
 public:
  void OnCancel() override { this->Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }
};

class Calls {
 public:
  void Count() {
    MutexLock lock(mutex_);
    ++count_;
    changed_.NotifyAll();
  }
  int count() {
    MutexLock lock(mutex_);
    return count_;
  }
  void WaitForOne() {
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return count_ > 0; });
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Has a version to promote and never sends a byte of its weights.
class SlowRegistry final : public v1::RegistryService::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::PromotedEnsemble>* WatchPromoted(
      grpc::CallbackServerContext*, const v1::WatchPromotedRequest*) override {
    auto* watch = new Hanging<grpc::ServerWriteReactor<v1::PromotedEnsemble>>;
    watch->StartWrite(&promoted);
    return watch;
  }
  grpc::ServerWriteReactor<v1::GetArtifactResponse>* GetArtifact(
      grpc::CallbackServerContext*, const v1::GetArtifactRequest*) override {
    downloads.Count();
    return new Hanging<grpc::ServerWriteReactor<v1::GetArtifactResponse>>;
  }
  v1::PromotedEnsemble promoted;
  Calls downloads;
};

class SlowFleet final : public v1::FleetService::CallbackService {
 public:
  grpc::ServerUnaryReactor* ListFleet(grpc::CallbackServerContext*, const v1::ListFleetRequest*,
                                      v1::ListFleetResponse*) override {
    lists.Count();
    return new Hanging<grpc::ServerUnaryReactor>;
  }
  Calls lists;
};

class PromptStopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<SeededMember> members;
    for (const char* name : {"first", "second", "third"}) {
      ASSERT_OK_AND_ASSIGN(members.emplace_back(),
                           MakeSeededMember(name, "tiny_cnn", 32, members.size()));
    }
    *registry.promoted.mutable_ensemble() = MakeSeededVersion("seeded", members);
    ASSERT_OK_AND_ASSIGN(server, rpc::RpcServer::Start({}, {&registry, &fleet}));
  }
  void Follow(LocalMembers local) {
    ServiceOptions options;
    options.coordinator = "127.0.0.1:" + std::to_string(server->port());
    options.local = local;
    ASSERT_OK_AND_ASSIGN(service, Service::Create(options, channels));
    ASSERT_THAT(service->Start(), IsOk());
  }
  void ExpectGoesPromptly() {
    auto gone = std::async(std::launch::async, [&] { service.reset(); });
    EXPECT_EQ(gone.wait_for(kPrompt), std::future_status::ready);
    server->Shutdown(std::chrono::milliseconds(0));  // so that it goes after all
  }

  std::shared_ptr<rpc::ChannelFactory> channels = rpc::MakeTcpChannelFactory();
  SlowRegistry registry;
  SlowFleet fleet;
  std::unique_ptr<rpc::RpcServer> server;
  std::unique_ptr<Service> service;
};

TEST_F(PromptStopTest, WhileWeightsAreOnTheirWayAndOthersWaitForTheirTurn) {
  Follow(LocalMembers::kOnly);
  registry.downloads.WaitForOne();
  ExpectGoesPromptly();
  EXPECT_EQ(registry.downloads.count(), 1);
}

TEST_F(PromptStopTest, WhileTheCoordinatorListsItsTrainers) {
  Follow(LocalMembers::kOff);
  fleet.lists.WaitForOne();
  ExpectGoesPromptly();
}

}  // namespace
}  // namespace atelier::aggregator
