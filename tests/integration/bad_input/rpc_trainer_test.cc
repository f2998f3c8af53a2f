// RELIABILITY, "RPC": bad content of a trainer's PredictStream, request by request.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>

#include <functional>
#include <future>
#include <limits>
#include <string>

#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/trainer/client.h"
#include "services/trainer/predict_service.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/full_pool.h"
#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

using ::atelier::testing::StatusIs;
using Answer = absl::StatusOr<v1::Matrix>;

constexpr int kSide = 32;
constexpr int kPictureBytes = kSide * kSide * 3;

struct PredictCase {
  std::string name;
  std::function<void(v1::PredictRequest&)> spoil;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class TrainerPredict : public ::testing::TestWithParam<PredictCase> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(member_, aggregator::MakeSeededMember("one", "tiny_cnn", kSide, 1));
    rpc::ServerOptions options;
    options.in_process_only = true;
    ASSERT_OK_AND_ASSIGN(server_, rpc::RpcServer::Start(options, {&service_}));
    channels_->Add("trainer", server_->server());
    client_ = PredictClient::Create(channels_->Connect("inproc:trainer"));
  }
  v1::PredictRequest Good() const {
    v1::PredictRequest request;
    *request.mutable_model() = member_.spec.model();
    request.set_weights_digest(member_.spec.weights_digest());
    request.set_size(2);
    request.set_pixels(std::string(2 * kPictureBytes, 'x'));
    return request;
  }

  Answer Predict(const v1::PredictRequest& request) {
    const auto answer = std::make_shared<std::promise<Answer>>();
    client_->Predict(request, std::chrono::steady_clock::now() + std::chrono::seconds(30),
                     [answer](Answer matrix) { answer->set_value(std::move(matrix)); });
    return answer->get_future().get();
  }

  aggregator::SeededMember member_;
  PredictorCache cache_{{}, [this](const std::string& digest) -> absl::StatusOr<std::string> {
                          if (digest == member_.spec.weights_digest()) return member_.weights;
                          return absl::NotFoundError("no such weights");
                        }};
  WorkerPool inference_{1};
  WorkerPool loading_{1};
  PredictServiceImpl service_{cache_, inference_, loading_};
  std::unique_ptr<rpc::RpcServer> server_;
  std::shared_ptr<rpc::InProcessChannels> channels_ = rpc::MakeInProcessChannels();
  std::unique_ptr<PredictClient> client_;
};

TEST_P(TrainerPredict, IsRefusedWithItsCodeAndTheNextGoodRequestSucceeds) {
  v1::PredictRequest bad = Good();
  GetParam().spoil(bad);
  EXPECT_THAT(Predict(bad), StatusIs(GetParam().code));
  ASSERT_OK_AND_ASSIGN(const v1::Matrix good, Predict(Good()));
  EXPECT_EQ(good.rows(), 2);
}

void SetImage(v1::PredictRequest& request, int size, int channels) {
  request.mutable_model()->mutable_image()->set_size(size);
  request.mutable_model()->mutable_image()->set_channels(channels);
}

INSTANTIATE_TEST_SUITE_P(
    Rpc, TrainerPredict,
    ::testing::Values(
        PredictCase{"OneByteTooFew", [](auto& r) { r.mutable_pixels()->pop_back(); }},
        PredictCase{"OneByteTooMany", [](auto& r) { r.mutable_pixels()->push_back('x'); }},
        PredictCase{"FewerPicturesThanSent", [](auto& r) { r.set_size(1); }},
        PredictCase{"NoPicturesButPixels", [](auto& r) { r.set_size(0); }},
        PredictCase{"MinusOnePicture", [](auto& r) { r.set_size(-1); },
                    absl::StatusCode::kResourceExhausted},
        PredictCase{"SixtyFivePictures", [](auto& r) { r.set_size(65); },
                    absl::StatusCode::kResourceExhausted},
        PredictCase{"UnknownWeights", [](auto& r) { r.set_weights_digest(std::string(64, '0')); },
                    absl::StatusCode::kNotFound},
        PredictCase{"SizeZero", [](auto& r) { SetImage(r, 0, 3); }},
        PredictCase{"SizeMinusOne", [](auto& r) { SetImage(r, -1, 3); }},
        // 2 * (2^31 - 1)^2 * 3 is more than an int64 counts.
        PredictCase{"TheLargestSize",
                    [](auto& r) { SetImage(r, std::numeric_limits<int32_t>::max(), 3); }},
        PredictCase{"TheLargestChannels",
                    [](auto& r) {
                      SetImage(r, std::numeric_limits<int32_t>::max(),
                               std::numeric_limits<int32_t>::max());
                    }},
        PredictCase{"MinusOneChannels", [](auto& r) { SetImage(r, kSide, -1); }}),
    [](const auto& test) { return test.param.name; });

TEST(TrainerPredictStream, SaysThatItIsBusyWhenTheQueueIsFull) {
  PredictorCache cache({}, [](const std::string&) -> absl::StatusOr<std::string> {
    return absl::NotFoundError("no such weights");
  });
  WorkerPool inference(1);
  WorkerPool loading(1, 1);
  PredictServiceImpl service(cache, inference, loading);
  rpc::ServerOptions options;
  options.in_process_only = true;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::RpcServer::Start(options, {&service}));
  const auto channels = rpc::MakeInProcessChannels();
  channels->Add("trainer", server->server());
  testing::FullPool full(loading);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  const auto stream =
      v1::TrainerService::NewStub(channels->Connect("inproc:trainer"))->PredictStream(&context);
  EXPECT_TRUE(stream->Write(v1::PredictRequest()));
  const grpc::Status refused = stream->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("busy"));
  full.Release();
}

}  // namespace
}  // namespace atelier::trainer
