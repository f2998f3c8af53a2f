// Coordinator, trainers and aggregator as servers on loopback in one process: members remote, k of
// n, hot swap under load (P4).
#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "atelier/v1/registry.grpc.pb.h"
#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/ensemble/combine.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/aggregator/client.h"
#include "services/aggregator/service.h"
#include "services/coordinator/client.h"
#include "services/coordinator/service.h"
#include "services/trainer/service.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr std::chrono::seconds kPatience{90};

std::string Address(rpc::RpcServer& server) { return "127.0.0.1:" + std::to_string(server.port()); }

class RemoteMembersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(StartCoordinator({}));
    for (int i = 0; i < 4; ++i) request.add_images(MakePicture(i));
    request.set_want_members(true);
  }
  void TearDown() override {
    server.reset();
    service.reset();
    trainers.clear();
  }

  void StartCoordinator(const rpc::ServerOptions& server_options) {
    coordinator.reset();
    coordinator::CoordinatorOptions options;
    options.server = server_options;
    options.state_dir = dir.path();
    options.channels = channels;
    ASSERT_OK_AND_ASSIGN(coordinator, coordinator::CoordinatorServer::Start(std::move(options)));
    registry =
        coordinator::RegistryClient::Create(channels->Connect(Address(coordinator->server())));
  }
  void StartTrainer(const std::string& backbone, const rpc::ServerOptions& server_options = {}) {
    trainer::TrainerOptions options;
    options.server = server_options;
    options.channels = channels;
    options.coordinator = Address(coordinator->server());
    options.id = backbone;
    options.backbones = {backbone};
    options.threads = 1;
    ASSERT_OK_AND_ASSIGN(trainers[backbone], trainer::TrainerServer::Start(std::move(options)));
  }
  void StartAggregator(int min_members, LocalMembers local = LocalMembers::kOff) {
    ServiceOptions options;
    options.coordinator = Address(coordinator->server());
    options.local = local;
    options.min_members = min_members;
    ASSERT_OK_AND_ASSIGN(service, Service::Create(options, channels));
    ASSERT_OK_AND_ASSIGN(server, rpc::RpcServer::Start({}, service->services()));
    ASSERT_THAT(service->Start(), IsOk());
    ASSERT_THAT(service->WaitServed(kPatience), IsOk());
    client = AggregatorClient::Create(channels->Connect(Address(*server)));
  }
  // The coordinator's list of trainers comes by the second: asks until `wanted` members answer.
  absl::StatusOr<v1::AggregatorPredictResponse> PredictWith(int wanted) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      auto answer = client->Predict(request, std::chrono::seconds(10));
      if (answer.ok() && answer->members_used_size() == wanted) return answer;
      if (std::chrono::steady_clock::now() > end) {
        return answer.ok() ? absl::DeadlineExceededError(answer->ShortDebugString())
                           : answer.status();
      }
    }
  }
  void Publish(const std::vector<SeededMember>& members, bool promote) {
    for (const SeededMember& member : members) {
      ASSERT_THAT(registry->PutBytes(member.weights), IsOk());
    }
    ASSERT_THAT(registry->Publish(MakeSeededVersion("seeded", members), promote), IsOk());
  }
  static rpc::ServerOptions ShortLived() {
    rpc::ServerOptions options;
    options.connection_age = std::chrono::milliseconds(1'000);
    options.connection_age_grace = std::chrono::milliseconds(100);
    return options;
  }
  bool WaitServed(int version) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      const auto served = client->GetServed();
      if (served.ok() && served->ensemble().version() == version) return true;
    }
    return false;
  }
  // The answer equals the offline combination of exactly the members it names.
  static void ExpectConsistent(const v1::AggregatorPredictResponse& answer) {
    std::vector<ensemble::Probabilities> members;
    std::vector<std::string> names;
    for (const auto& member : answer.members()) {
      ASSERT_OK_AND_ASSIGN(members.emplace_back(), ensemble::FromMatrix(member.probabilities()));
      names.push_back(member.member());
    }
    EXPECT_EQ(names,
              std::vector<std::string>(answer.members_used().begin(), answer.members_used().end()));
    ASSERT_OK_AND_ASSIGN(const auto mean, ensemble::Mean(members));
    EXPECT_EQ(ensemble::ToMatrix(mean).data(), answer.probabilities().data());
  }

  atelier::testing::TempDir dir;
  std::shared_ptr<rpc::ChannelFactory> channels = rpc::MakeTcpChannelFactory();
  std::unique_ptr<coordinator::CoordinatorServer> coordinator;
  std::unique_ptr<coordinator::RegistryClient> registry;
  std::map<std::string, std::unique_ptr<trainer::TrainerServer>> trainers;
  std::unique_ptr<Service> service;
  std::unique_ptr<rpc::RpcServer> server;
  std::unique_ptr<AggregatorClient> client;
  v1::AggregatorPredictRequest request;
};

TEST_F(RemoteMembersTest, LosingATrainerDegradesAndLosingAllIsUnavailable) {
  std::vector<SeededMember> members;
  ASSERT_OK_AND_ASSIGN(members.emplace_back(), MakeSeededMember("a", "tiny_cnn", 32, 1));
  ASSERT_OK_AND_ASSIGN(members.emplace_back(), MakeSeededMember("b", "tiny_cnn", 32, 2));
  ASSERT_OK_AND_ASSIGN(members.emplace_back(), MakeSeededMember("c", "efficientnet_lite0", 32, 3));
  Publish(members, true);
  StartTrainer("tiny_cnn");
  StartTrainer("efficientnet_lite0");
  StartAggregator(0);
  ASSERT_OK_AND_ASSIGN(const auto whole, PredictWith(3));
  EXPECT_THAT(whole.members_used(), ElementsAre("a", "b", "c"));
  EXPECT_FALSE(whole.degraded());
  ExpectConsistent(whole);

  trainers.erase("efficientnet_lite0");
  ASSERT_OK_AND_ASSIGN(const auto degraded, client->Predict(request, std::chrono::seconds(10)));
  EXPECT_TRUE(degraded.degraded());
  EXPECT_THAT(degraded.members_used(), ElementsAre("a", "b"));
  EXPECT_THAT(degraded.members_failed(), ElementsAre("c"));
  ExpectConsistent(degraded);
  EXPECT_EQ(degraded.members(0).probabilities().data(), whole.members(0).probabilities().data());

  trainers.erase("tiny_cnn");
  EXPECT_THAT(client->Predict(request, std::chrono::seconds(10)),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(RemoteMembersTest, ATrainerThatComesBackIsUsedAgain) {
  std::vector<SeededMember> members;
  ASSERT_OK_AND_ASSIGN(members.emplace_back(), MakeSeededMember("a", "tiny_cnn", 32, 1));
  Publish(members, true);
  StartTrainer("tiny_cnn");
  StartAggregator(0);
  ASSERT_OK_AND_ASSIGN(const auto before, client->Predict(request, kPatience));
  trainers.clear();
  EXPECT_THAT(client->Predict(request, std::chrono::seconds(5)),
              StatusIs(absl::StatusCode::kUnavailable));
  StartTrainer("tiny_cnn");
  ASSERT_OK_AND_ASSIGN(const auto after, PredictWith(1));
  EXPECT_EQ(after.probabilities().data(), before.probabilities().data());
}

TEST_F(RemoteMembersTest, PromotingUnderLoadFailsNoRequestAndMixesNoVersions) {
  ASSERT_OK_AND_ASSIGN(const SeededMember old_member, MakeSeededMember("a", "tiny_cnn", 32, 1));
  ASSERT_OK_AND_ASSIGN(const SeededMember new_member, MakeSeededMember("b", "tiny_cnn", 48, 2));
  Publish({old_member}, true);
  StartTrainer("tiny_cnn");
  StartAggregator(0);
  Publish({new_member}, false);

  std::atomic<bool> stop{false};
  Mutex mutex;
  std::map<std::string, std::set<std::string>> answers;  // version -> distinct probabilities
  std::vector<std::string> errors;
  std::vector<std::thread> load;
  for (int i = 0; i < 2; ++i) {
    load.emplace_back([&] {
      while (!stop) {
        const auto answer = client->Predict(request, kPatience);
        MutexLock lock(mutex);
        if (answer.ok()) {
          answers[answer->ensemble_version()].insert(answer->probabilities().data());
        } else {
          errors.push_back(answer.status().ToString());
        }
      }
    });
  }
  for (const int version : {2, 1, 2}) {
    ASSERT_THAT(registry->Promote("seeded", version), IsOk());
    EXPECT_TRUE(WaitServed(version));
  }
  ASSERT_THAT(client->Predict(request, kPatience), IsOk());
  stop = true;
  for (std::thread& thread : load) thread.join();
  EXPECT_THAT(errors, ElementsAre());
  ASSERT_THAT(answers, ::testing::SizeIs(2));
  for (const auto& [version, distinct] : answers) EXPECT_EQ(distinct.size(), 1) << version;
  EXPECT_NE(*answers["seeded@1"].begin(), *answers["seeded@2"].begin());
}

// Streams of the test's own tell when connections come of age: blocks until so many have.
template <typename Message, typename Open>
void WaitForAges(int count, const Open& open) {
  for (int i = 0; i < count; ++i) {
    grpc::ClientContext context;
    const auto stream = open(context);
    Message message;
    while (stream->Read(&message)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

TEST_F(RemoteMembersTest, PredictionsGoOnWhenConnectionsToTheTrainerComeOfAge) {
  ASSERT_OK_AND_ASSIGN(const SeededMember member, MakeSeededMember("a", "tiny_cnn", 32, 1));
  Publish({member}, true);
  StartTrainer("tiny_cnn", ShortLived());
  StartAggregator(0);
  std::atomic<bool> stop{false};
  Mutex mutex;
  std::vector<std::string> errors;
  std::vector<std::thread> load;  // so that something is under way at each end
  for (int i = 0; i < 2; ++i) {
    load.emplace_back([&] {
      while (!stop) {
        const auto answer = client->Predict(request, kPatience);
        MutexLock lock(mutex);
        if (!answer.ok()) errors.push_back(answer.status().ToString());
      }
    });
  }
  const auto stub = v1::TrainerService::NewStub(
      rpc::MakeTcpChannelFactory()->Connect(Address(trainers["tiny_cnn"]->server())));
  WaitForAges<v1::PredictResponse>(
      4, [&](grpc::ClientContext& context) { return stub->PredictStream(&context); });
  stop = true;
  for (std::thread& thread : load) thread.join();
  EXPECT_THAT(errors, ElementsAre());
}

TEST_F(RemoteMembersTest, PromotionsArriveWhenConnectionsToTheCoordinatorComeOfAge) {
  ASSERT_NO_FATAL_FAILURE(StartCoordinator(ShortLived()));
  ASSERT_OK_AND_ASSIGN(const SeededMember old_member, MakeSeededMember("a", "tiny_cnn", 32, 1));
  ASSERT_OK_AND_ASSIGN(const SeededMember new_member, MakeSeededMember("b", "tiny_cnn", 48, 2));
  Publish({old_member}, true);
  StartAggregator(0, LocalMembers::kOnly);
  Publish({new_member}, false);
  const auto stub = v1::RegistryService::NewStub(
      rpc::MakeTcpChannelFactory()->Connect(Address(coordinator->server())));
  for (const int version : {2, 1}) {
    // Two of the test's, one after the other: meanwhile the aggregator's ended, which began before.
    WaitForAges<v1::PromotedEnsemble>(2, [&](grpc::ClientContext& context) {
      return stub->WatchPromoted(&context, v1::WatchPromotedRequest());
    });
    ASSERT_THAT(registry->Promote("seeded", version), IsOk());
    EXPECT_TRUE(WaitServed(version));
  }
}

}  // namespace
}  // namespace atelier::aggregator
