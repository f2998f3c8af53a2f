// A trainer's predictions while some of them have to wait: for a download, for room.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>

#include <future>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/concurrency/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/trainer/client.h"
#include "services/trainer/predict_service.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using Answer = absl::StatusOr<v1::Matrix>;

constexpr int kSide = 32;
constexpr std::chrono::seconds kPatience{30};

// A registry whose downloads of one artifact wait until the test lets them go on.
class SlowRegistry {
 public:
  absl::StatusOr<std::string> Get(const std::string& digest) {
    MutexLock lock(mutex_);
    ++downloads_[digest];
    changed_.NotifyAll();
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return digest != slow_; });
    const auto found = stored_.find(digest);
    if (found == stored_.end()) return absl::NotFoundError("no such weights");
    return found->second;
  }
  void Put(const std::string& digest, const std::string& bytes) {
    MutexLock lock(mutex_);
    stored_[digest] = bytes;
  }
  void Hold(const std::string& digest) {
    MutexLock lock(mutex_);
    slow_ = digest;
    changed_.NotifyAll();
  }
  void GoOn() { Hold(""); }
  void WaitForDownloadOf(const std::string& digest) {
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return downloads_[digest] > 0; });
  }
  int Downloads(const std::string& digest) {
    MutexLock lock(mutex_);
    return downloads_[digest];
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::string slow_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> stored_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> downloads_ ABSL_GUARDED_BY(mutex_);
};

class TrainerPredictStreamTest : public ::testing::Test {
 protected:
  explicit TrainerPredictStreamTest(int64_t max_waiting_bytes = kMaxWaitingBytes)
      : service_(cache_, inference_, loading_, max_waiting_bytes) {}

  void SetUp() override {
    for (auto* member : {&one_, &other_}) {
      const uint64_t seed = member == &one_ ? 1 : 2;
      ASSERT_OK_AND_ASSIGN(*member,
                           aggregator::MakeSeededMember("member", "tiny_cnn", kSide, seed));
      registry_.Put(Digest(*member), member->weights);
    }
    rpc::ServerOptions options;
    options.in_process_only = true;
    ASSERT_OK_AND_ASSIGN(server_, rpc::RpcServer::Start(options, {&service_}));
    channels_->Add("trainer", server_->server());
    client_ = NewClient();
  }
  void TearDown() override {
    registry_.GoOn();
    client_.reset();
    channels_.reset();
    server_.reset();
    loading_.Stop();
    inference_.Stop();
  }

  std::unique_ptr<PredictClient> NewClient() {
    return PredictClient::Create(channels_->Connect("inproc:trainer"));
  }
  static const std::string& Digest(const aggregator::SeededMember& member) {
    return member.spec.weights_digest();
  }
  static v1::PredictRequest Picture(const aggregator::SeededMember& member) {
    v1::PredictRequest request;
    *request.mutable_model() = member.spec.model();
    request.set_weights_digest(Digest(member));
    request.set_size(1);
    request.set_pixels(std::string(kSide * kSide * 3, 'x'));
    return request;
  }
  static std::future<Answer> Predict(PredictClient& client, v1::PredictRequest request) {
    auto answer = std::make_shared<std::promise<Answer>>();
    client.Predict(std::move(request), std::chrono::steady_clock::now() + kPatience,
                   [answer](Answer matrix) { answer->set_value(std::move(matrix)); });
    return answer->get_future();
  }
  std::future<Answer> Predict(v1::PredictRequest request) {
    return Predict(*client_, std::move(request));
  }

  aggregator::SeededMember one_;
  aggregator::SeededMember other_;
  SlowRegistry registry_;
  // Too small for two members.
  PredictorCache cache_{{.max_bytes = 1, .backbones = {}},
                        [this](const std::string& digest) { return registry_.Get(digest); }};
  WorkerPool inference_{1};
  WorkerPool loading_{1};
  PredictServiceImpl service_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::shared_ptr<rpc::InProcessChannels> channels_ = rpc::MakeInProcessChannels();
  std::unique_ptr<PredictClient> client_;
};

TEST_F(TrainerPredictStreamTest, ADownloadStopsNobodyWhoseMemberIsThere) {
  ASSERT_THAT(Predict(Picture(one_)).get(), IsOk());
  registry_.Hold(Digest(other_));
  std::vector<std::future<Answer>> slow;
  for (int i = 0; i < 40; ++i) slow.push_back(Predict(Picture(other_)));
  registry_.WaitForDownloadOf(Digest(other_));
  EXPECT_THAT(Predict(Picture(one_)).get(), IsOk());
  registry_.GoOn();
  for (auto& answer : slow) EXPECT_THAT(answer.get(), IsOk());
}

TEST_F(TrainerPredictStreamTest, WhatSeveralWaitForIsLoadedOnce) {
  registry_.Hold(Digest(one_));
  auto first = Predict(Picture(one_));
  auto second = Predict(Picture(one_));
  v1::PredictRequest warm_up = Picture(one_);
  warm_up.set_size(0);
  warm_up.clear_pixels();
  auto third = Predict(warm_up);
  registry_.WaitForDownloadOf(Digest(one_));
  registry_.GoOn();
  EXPECT_THAT(first.get(), IsOk());
  EXPECT_THAT(second.get(), IsOk());
  EXPECT_THAT(third.get(), IsOk());
  EXPECT_EQ(registry_.Downloads(Digest(one_)), 1);
}

TEST_F(TrainerPredictStreamTest, MembersThatEvictEachOtherAllAnswer) {
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(Predict(Picture(i % 2 == 0 ? one_ : other_)));
  for (auto& answer : answers) EXPECT_THAT(answer.get(), IsOk());
}

// What evicts a member does not take it from under a request that found it.
TEST_F(TrainerPredictStreamTest, AMemberEvictedWhileItsRequestWaitsIsLoadedAgain) {
  ASSERT_THAT(Predict(Picture(one_)).get(), IsOk());
  std::promise<void> go_on;
  ASSERT_TRUE(inference_.Submit([&] { go_on.get_future().wait(); }));
  const auto waiting = std::make_shared<PredictJob>();
  waiting->request = Picture(one_);
  const auto answer = std::make_shared<std::promise<v1::PredictResponse>>();
  waiting->done = [answer](v1::PredictResponse response) {
    answer->set_value(std::move(response));
  };
  ASSERT_TRUE(service_.Submit(waiting));
  v1::PredictRequest warm_up = Picture(other_);
  warm_up.set_size(0);
  warm_up.clear_pixels();
  ASSERT_THAT(Predict(warm_up).get(), IsOk());
  EXPECT_EQ(cache_.Find(one_.spec.model(), Digest(one_)), nullptr);
  go_on.set_value();
  EXPECT_EQ(answer->get_future().get().error_code(), 0);
  EXPECT_EQ(registry_.Downloads(Digest(one_)), 2);
}

// One client's request fills the room that there is, and waits for its download.
class TrainerPredictRoomTest : public TrainerPredictStreamTest {
 protected:
  TrainerPredictRoomTest() : TrainerPredictStreamTest(/*max_waiting_bytes=*/1) {}
};

TEST_F(TrainerPredictRoomTest, WhileThereIsNoRoomOtherStreamsAreNotRead) {
  ASSERT_THAT(Predict(Picture(one_)).get(), IsOk());
  registry_.Hold(Digest(other_));
  auto slow = Predict(Picture(other_));
  registry_.WaitForDownloadOf(Digest(other_));
  const auto second = NewClient();
  auto held_back = Predict(*second, Picture(one_));
  // No event tells that something is not read; what is read is answered at once.
  EXPECT_EQ(held_back.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  registry_.GoOn();
  EXPECT_THAT(slow.get(), IsOk());
  EXPECT_THAT(held_back.get(), IsOk());
}

TEST_F(TrainerPredictRoomTest, AStreamThatWaitsForRoomEndsWithItsClient) {
  v1::PredictRequest refused = Picture(one_);
  refused.set_size(65);
  v1::PredictResponse answer;
  grpc::ClientContext context;
  const auto stub = v1::TrainerService::NewStub(channels_->Connect("inproc:trainer"));
  const auto stream = stub->PredictStream(&context);
  ASSERT_TRUE(stream->Write(refused));
  ASSERT_TRUE(stream->Read(&answer));
  // The read that was under way still takes a request; the next one waits.
  service_.budget().Take(1);
  ASSERT_TRUE(stream->Write(refused));
  ASSERT_TRUE(stream->Read(&answer));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // A stop waits for every stream.
  auto stopped =
      std::async(std::launch::async, [&] { server_->Shutdown(std::chrono::milliseconds(0)); });
  EXPECT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  service_.budget().Release(1);
}

TEST_F(TrainerPredictStreamTest, BadPixelsAreRefusedBeforeTheirMemberIsLoaded) {
  registry_.Hold(Digest(one_));
  v1::PredictRequest bad = Picture(one_);
  bad.mutable_pixels()->pop_back();
  EXPECT_THAT(Predict(bad).get(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(registry_.Downloads(Digest(one_)), 0);
}

TEST_F(TrainerPredictStreamTest, WhatHasExpiredBeforeItsTurnIsNotComputed) {
  registry_.Hold(Digest(one_));
  grpc::ClientContext context;
  const auto stub = v1::TrainerService::NewStub(channels_->Connect("inproc:trainer"));
  const auto stream = stub->PredictStream(&context);
  v1::PredictRequest request = Picture(one_);
  request.set_id(1);
  ASSERT_TRUE(stream->Write(request));
  registry_.WaitForDownloadOf(Digest(one_));
  request.set_id(2);
  request.set_timeout_ms(1);
  ASSERT_TRUE(stream->Write(request));
  request.set_id(3);
  request.set_size(65);
  ASSERT_TRUE(stream->Write(request));
  v1::PredictResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_EQ(response.id(), 3U);
  // The second was read before the third. Its millisecond passes.
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  registry_.GoOn();
  std::map<uint64_t, int> codes;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    codes[response.id()] = response.error_code();
  }
  EXPECT_EQ(codes[1], 0);
  EXPECT_EQ(codes[2], static_cast<int>(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(service_.predictions(), 1);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(TrainerPredictStreamTest, WhatNobodyAwaitsAnyMoreIsNeitherLoadedNorComputed) {
  const auto predict = [&](bool abandoned) {
    const auto job = std::make_shared<PredictJob>();
    job->request = Picture(one_);
    job->abandoned = [abandoned] { return abandoned; };
    const auto answer = std::make_shared<std::promise<v1::PredictResponse>>();
    job->done = [answer](v1::PredictResponse response) { answer->set_value(std::move(response)); };
    EXPECT_TRUE(service_.Submit(job));
    return answer->get_future().get().error_code();
  };
  EXPECT_EQ(predict(true), static_cast<int>(absl::StatusCode::kCancelled));
  EXPECT_EQ(registry_.Downloads(Digest(one_)), 0);
  EXPECT_EQ(predict(false), 0);
  EXPECT_EQ(predict(true), static_cast<int>(absl::StatusCode::kCancelled));
  EXPECT_EQ(service_.predictions(), 1);
}

}  // namespace
}  // namespace atelier::trainer
