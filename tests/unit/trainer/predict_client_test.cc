#include <grpcpp/server_context.h>

#include <future>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/trainer/client.h"
#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;

using SteadyClock = std::chrono::steady_clock;

// Reads nothing until it is told to, then answers everything.
class StoppedTrainer final : public v1::TrainerService::Service {
 public:
  grpc::Status PredictStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::PredictResponse, v1::PredictRequest>* stream) override {
    go_on.get_future().wait();
    v1::PredictRequest request;
    while (stream->Read(&request)) {
      read.push_back(request.weights_digest());
      v1::PredictResponse response;
      response.set_id(request.id());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
  std::promise<void> go_on;
  std::vector<std::string> read;  // after the stream's end
};

// A trainer that has stopped must not make its clients hold what nobody waits for any more.
TEST(PredictClient, WhatHasExpiredIsNotSentAnyMore) {
  StoppedTrainer trainer;
  ASSERT_OK_AND_ASSIGN(auto server, rpc::RpcServer::Start({}, {&trainer}));
  auto client = PredictClient::Create(
      rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  const auto predict = [&](const std::string& name, SteadyClock::duration timeout) {
    v1::PredictRequest request;
    request.set_weights_digest(name);
    request.set_pixels(std::string(2 << 20, 'p'));  // more than the connection takes unread
    auto answer = std::make_shared<std::promise<absl::Status>>();
    client->Predict(
        std::move(request), SteadyClock::now() + timeout,
        [answer](const absl::StatusOr<v1::Matrix>& matrix) { answer->set_value(matrix.status()); });
    return answer->get_future();
  };
  std::vector<std::future<absl::Status>> expired;
  constexpr size_t kExpired = 8;
  for (size_t i = 0; i < kExpired; ++i) {
    expired.push_back(predict("expired", std::chrono::milliseconds(50)));
  }
  for (auto& answer : expired) {
    EXPECT_THAT(answer.get(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  }
  auto fresh = predict("fresh", std::chrono::seconds(30));
  trainer.go_on.set_value();
  EXPECT_THAT(fresh.get(), IsOk());
  client.reset();
  server->Shutdown(std::chrono::seconds(10));
  // gRPC had taken the first ones before they expired.
  EXPECT_LT(trainer.read.size(), kExpired / 2);
  EXPECT_EQ(trainer.read.back(), "fresh");
}

// Answers with the time that it is given, in `columns`.
class PatientTrainer final : public v1::TrainerService::Service {
 public:
  grpc::Status PredictStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::PredictResponse, v1::PredictRequest>* stream) override {
    v1::PredictRequest request;
    while (stream->Read(&request)) {
      v1::PredictResponse response;
      response.set_id(request.id());
      response.mutable_probabilities()->set_columns(request.timeout_ms());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

TEST(PredictClient, TellsTheTrainerWhatIsLeftOfTheRequestsTime) {
  PatientTrainer trainer;
  ASSERT_OK_AND_ASSIGN(auto server, rpc::RpcServer::Start({}, {&trainer}));
  auto client = PredictClient::Create(
      rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  const auto told = [&](SteadyClock::duration timeout) {
    const auto answer = std::make_shared<std::promise<absl::StatusOr<v1::Matrix>>>();
    client->Predict({}, SteadyClock::now() + timeout, [answer](absl::StatusOr<v1::Matrix> matrix) {
      answer->set_value(std::move(matrix));
    });
    return answer->get_future().get();
  };
  ASSERT_OK_AND_ASSIGN(const v1::Matrix an_hour, told(std::chrono::hours(1)));
  EXPECT_GT(an_hour.columns(), 3'500'000);
  EXPECT_LE(an_hour.columns(), 3'600'000);
  ASSERT_OK_AND_ASSIGN(const v1::Matrix a_year, told(std::chrono::hours(24 * 365)));
  EXPECT_EQ(a_year.columns(), std::numeric_limits<int32_t>::max());
}

// Answers as many requests as it is told to, then ends the stream.
class ForgetfulTrainer final : public v1::TrainerService::Service {
 public:
  explicit ForgetfulTrainer(int answers) : answers_(answers) {}
  grpc::Status PredictStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::PredictResponse, v1::PredictRequest>* stream) override {
    v1::PredictRequest request;
    for (int i = 0; stream->Read(&request) && i < answers_; ++i) {
      v1::PredictResponse response;
      response.set_id(request.id());
      stream->Write(response);
    }
    return {grpc::StatusCode::UNAVAILABLE, "gone"};
  }

 private:
  const int answers_;
};

// What the second of two requests ends with.
absl::Status SecondOf(ForgetfulTrainer& trainer) {
  auto server = rpc::RpcServer::Start({}, {&trainer});
  auto client = PredictClient::Create(
      rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string((*server)->port())));
  absl::Status status;
  for (int i = 0; i < 2; ++i) {
    std::promise<absl::Status> answer;
    client->Predict({}, SteadyClock::now() + std::chrono::seconds(30),
                    [&](const auto& matrix) { answer.set_value(matrix.status()); });
    status = answer.get_future().get();
  }
  return status;
}

TEST(PredictClient, TellsAStreamThatBrokeFromOneThatNeverAnswered) {
  ForgetfulTrainer after_one(1);
  EXPECT_THAT(SecondOf(after_one), StatusIs(absl::StatusCode::kAborted));
  ForgetfulTrainer at_once(0);
  EXPECT_THAT(SecondOf(at_once), StatusIs(absl::StatusCode::kUnavailable));
}

// Answers the first request only, and reads on.
class HalfDeafTrainer final : public v1::TrainerService::Service {
 public:
  grpc::Status PredictStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::PredictResponse, v1::PredictRequest>* stream) override {
    v1::PredictRequest request;
    for (bool first = true; stream->Read(&request); first = false) {
      v1::PredictResponse response;
      response.set_id(request.id());
      if (first) stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

class PredictClientEnd : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(server, rpc::RpcServer::Start({}, {&trainer}));
    client = PredictClient::Create(
        rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  }
  static SteadyClock::time_point InTime() { return SteadyClock::now() + std::chrono::seconds(30); }

  HalfDeafTrainer trainer;
  std::unique_ptr<rpc::RpcServer> server;
  std::unique_ptr<PredictClient> client;
};

// What a callback uses is often freed right after the client.
TEST_F(PredictClientEnd, WaitsForACallbackUnderWay) {
  std::promise<void> called;
  std::promise<void> closing;
  std::promise<void> gone;
  std::promise<void> ended;
  bool outlived = false;
  client->Predict({}, InTime(), [&](const auto&) {
    called.set_value();
    closing.get_future().wait();
    outlived =
        gone.get_future().wait_for(std::chrono::milliseconds(200)) == std::future_status::ready;
    ended.set_value();
  });
  called.get_future().wait();
  absl::Status second;
  client->Predict({}, InTime(), [&](const auto& matrix) {
    second = matrix.status();
    closing.set_value();
  });
  client.reset();
  gone.set_value();
  ended.get_future().wait();
  EXPECT_FALSE(outlived);
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(PredictClientEnd, DoesNotWaitForTheCallbackThatBringsIt) {
  std::promise<void> asked;
  std::promise<void> destroyed;
  client->Predict({}, InTime(), [&](const auto&) {
    asked.get_future().wait();
    client.reset();
    destroyed.set_value();
  });
  asked.set_value();
  destroyed.get_future().wait();
}

}  // namespace
}  // namespace atelier::trainer
