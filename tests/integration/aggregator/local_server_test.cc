// A real server on loopback, members in-process: both APIs, equal to the bit, and equal to what
// vision, nn and ensemble compute without any service.
#include <gmock/gmock.h>

#include "common/ensemble/combine.h"
#include "common/nn/predictor.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/vision/decode.h"
#include "common/vision/resize.h"
#include "services/aggregator/client.h"
#include "services/aggregator/service.h"
#include "tests/integration/aggregator/oip_client.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{60};

class LocalServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    members.clear();
    for (const auto& [name, size] : {std::pair{"first", 32}, {"second", 32}, {"third", 48}}) {
      ASSERT_OK_AND_ASSIGN(members.emplace_back(),
                           MakeSeededMember(name, "tiny_cnn", size, members.size()));
    }
    ASSERT_THAT(WriteRunDirectory(dir.path(), MakeSeededVersion("seeded", members), members),
                IsOk());
    ServiceOptions options;
    options.run_directory = dir.path();
    options.ensemble_version = 4;
    Start(options);
    ASSERT_THAT(service->WaitServed(kPatience), IsOk());
    for (int i = 0; i < 5; ++i) pictures.push_back(MakePicture(i));
  }

  void Start(const ServiceOptions& options) {
    channels = rpc::MakeTcpChannelFactory();
    ASSERT_OK_AND_ASSIGN(service, Service::Create(options, channels));
    rpc::ServerOptions server_options;
    server_options.max_receive_bytes = 16 << 20;
    ASSERT_OK_AND_ASSIGN(server, rpc::RpcServer::Start(server_options, service->services()));
    ASSERT_THAT(service->Start(), IsOk());
    const auto channel = channels->Connect("127.0.0.1:" + std::to_string(server->port()));
    oip = std::make_unique<OipClient>(channel);
    client = AggregatorClient::Create(channel);
  }

  // Without any service: decode, resize, predict.
  ensemble::Probabilities PredictAlone(const SeededMember& member) {
    v1::ImageSpec image = member.spec.model().image();
    image.set_filter(v1::AREA);
    image.set_channels(3);
    std::string pixels;
    for (const std::string& picture : pictures) {
      const auto decoded = vision::DecodePicture(picture, 3);
      const vision::Image resized = vision::Resize(*decoded, image);
      pixels.append(resized.pixels.begin(), resized.pixels.end());
    }
    const auto predictor = nn::Predictor::Create(member.spec.model(), member.weights);
    const auto answer = (*predictor)->Predict(pixels, static_cast<int>(pictures.size()));
    return *ensemble::FromMatrix(*answer);
  }
  std::string Combination(const std::vector<int>& used) {
    std::vector<ensemble::Probabilities> answers;
    for (const int i : used) answers.push_back(PredictAlone(members[static_cast<size_t>(i)]));
    return ensemble::ToMatrix(*ensemble::Mean(answers)).data();
  }

  atelier::testing::TempDir dir;
  std::vector<SeededMember> members;
  std::vector<std::string> pictures;
  std::shared_ptr<rpc::ChannelFactory> channels;
  std::unique_ptr<Service> service;
  std::unique_ptr<rpc::RpcServer> server;  // destroyed before the service
  std::unique_ptr<OipClient> oip;
  std::unique_ptr<AggregatorClient> client;
};

TEST_F(LocalServerTest, BothProtocolsAndTheOfflineCombinationAgreeToTheBit) {
  v1::AggregatorPredictRequest request;
  *request.mutable_images() = {pictures.begin(), pictures.end()};
  request.set_want_members(true);
  ASSERT_OK_AND_ASSIGN(const auto own, client->Predict(request));
  ASSERT_OK_AND_ASSIGN(const auto open, oip->Infer(MakeImageRequest(pictures)));
  EXPECT_EQ(open.raw_output_contents(0), own.probabilities().data());
  EXPECT_EQ(own.probabilities().data(), Combination({0, 1, 2}));
  std::string labels;
  for (const std::string& label : own.labels()) AppendElement(labels, label);
  EXPECT_EQ(open.raw_output_contents(1), labels);
  EXPECT_THAT(own.members_used(), ElementsAre("first", "second", "third"));
  EXPECT_EQ(own.ensemble_version(), "seeded@4");
  EXPECT_EQ(open.parameters().at("ensemble_version").string_param(), "seeded@4");
  ASSERT_EQ(own.members_size(), 3);
  EXPECT_EQ(own.members(2).probabilities().data(),
            ensemble::ToMatrix(PredictAlone(members[2])).data());
}

TEST_F(LocalServerTest, EachMemberIsAModelOfItsOwn) {
  ASSERT_OK_AND_ASSIGN(const auto answer, oip->Infer(MakeImageRequest(pictures, "second")));
  EXPECT_EQ(answer.raw_output_contents(0), Combination({1}));
  EXPECT_EQ(answer.parameters().at("members_used").string_param(), "second");
}

TEST_F(LocalServerTest, DecodedPixelsGiveTheAnswerOfTheirPictures) {
  inference::ModelInferRequest request;
  request.set_model_name("ensemble");
  auto& input = *request.add_inputs();
  input.set_name("pixels");
  input.set_datatype("UINT8");
  std::string& raw = *request.add_raw_input_contents();
  vision::Image image;
  for (const std::string& picture : pictures) {
    ASSERT_OK_AND_ASSIGN(image, vision::DecodePicture(picture, 3));
    raw.append(image.pixels.begin(), image.pixels.end());
  }
  for (const int64_t dim : {5, image.height, image.width, 3}) input.add_shape(dim);
  ASSERT_OK_AND_ASSIGN(const auto answer, oip->Infer(request));
  EXPECT_EQ(answer.raw_output_contents(0), Combination({0, 1, 2}));
}

TEST_F(LocalServerTest, AStreamAnswersInOrderAndGoesOnAfterAnError) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  const auto stream = oip->stub->ModelStreamInfer(&context);
  constexpr int kRequests = 12;
  for (int i = 0; i < kRequests; ++i) {
    auto request = MakeImageRequest({i == 5 ? "no picture" : pictures[static_cast<size_t>(i) % 5]});
    request.set_id(std::to_string(i));
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  inference::ModelStreamInferResponse response;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.infer_response().id(), std::to_string(i));
    EXPECT_EQ(response.error_message().empty(), i != 5) << response.error_message();
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(LocalServerTest, BadInputHasItsCodeAndTheNextGoodRequestSucceeds) {
  const auto expect = [&](const inference::ModelInferRequest& request, absl::StatusCode code) {
    EXPECT_THAT(oip->Infer(request), StatusIs(code));
    EXPECT_THAT(oip->Infer(MakeImageRequest({pictures[0]})), IsOk());
  };
  using absl::StatusCode;
  expect(MakeImageRequest({pictures[0], pictures[1].substr(0, 300)}), StatusCode::kInvalidArgument);
  expect(MakeImageRequest({""}), StatusCode::kInvalidArgument);
  expect(MakeImageRequest({}), StatusCode::kInvalidArgument);
  expect(MakeImageRequest(pictures, "nobody"), StatusCode::kNotFound);
  expect(MakeImageRequest(std::vector<std::string>(65, pictures[0])),
         StatusCode::kResourceExhausted);
  auto version = MakeImageRequest(pictures);
  version.set_model_version("3");
  expect(version, StatusCode::kNotFound);
  // A 19-byte header that claims 30000 x 30000 pixels is refused before anything is allocated.
  expect(MakeImageRequest({"P6\n30000 30000\n255\n"}), StatusCode::kInvalidArgument);
  // Beyond the receive limit of 16 MiB.
  expect(MakeImageRequest({std::string(17 << 20, 'x')}), StatusCode::kResourceExhausted);
}

TEST_F(LocalServerTest, SixtyFourPicturesAreOneRequest) {
  ASSERT_OK_AND_ASSIGN(const auto answer,
                       oip->Infer(MakeImageRequest(std::vector<std::string>(64, pictures[0]))));
  EXPECT_THAT(answer.outputs(0).shape(), ElementsAre(64, 2));
}

TEST_F(LocalServerTest, DescribesItself) {
  grpc::ClientContext ready_context;
  inference::ModelReadyRequest ready_request;
  inference::ModelReadyResponse ready;
  ready_request.set_name("third");
  ASSERT_TRUE(oip->stub->ModelReady(&ready_context, ready_request, &ready).ok());
  EXPECT_TRUE(ready.ready());
  grpc::ClientContext unknown_context;
  ready_request.set_name("nobody");
  ASSERT_TRUE(oip->stub->ModelReady(&unknown_context, ready_request, &ready).ok());
  EXPECT_FALSE(ready.ready());
  grpc::ClientContext config_context;
  inference::ModelConfigRequest config_request;
  inference::ModelConfigResponse config;
  config_request.set_name("ensemble");
  ASSERT_TRUE(oip->stub->ModelConfig(&config_context, config_request, &config).ok());
  EXPECT_EQ(config.config().ensemble_scheduling().step_size(), 3);
  grpc::ClientContext other_context;
  inference::ModelStatisticsResponse statistics;
  EXPECT_EQ(oip->stub->ModelStatistics(&other_context, {}, &statistics).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  ASSERT_OK_AND_ASSIGN(const auto served, client->GetServed());
  EXPECT_EQ(served.ensemble().version(), 4);
}

TEST_F(LocalServerTest, ADrainEndsStreamsAndRefusesWithoutHanging) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  const auto stream = oip->stub->ModelStreamInfer(&context);
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Write(MakeImageRequest({pictures[0]})));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(service->Drain(kPatience));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(oip->Infer(MakeImageRequest(pictures)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
}

TEST_F(LocalServerTest, ACallWithoutADeadlineIsAnsweredToo) {
  grpc::ClientContext context;
  inference::ModelInferResponse response;
  EXPECT_TRUE(oip->stub->ModelInfer(&context, MakeImageRequest(pictures), &response).ok());
}

TEST_F(LocalServerTest, WeightsOfAnotherArchitectureAreRefusedByName) {
  ASSERT_OK_AND_ASSIGN(SeededMember other, MakeSeededMember("other", "tiny_cnn", 32, 9));
  other.spec.mutable_model()->mutable_head()->set_hidden_units(9);
  atelier::testing::TempDir wrong;
  ASSERT_THAT(WriteRunDirectory(wrong.path(), MakeSeededVersion("wrong", {other}), {other}),
              IsOk());
  ServiceOptions options;
  options.run_directory = wrong.path();
  ASSERT_OK_AND_ASSIGN(const auto refused, Service::Create(options, channels));
  ASSERT_THAT(refused->Start(), IsOk());
  EXPECT_THAT(refused->WaitServed(kPatience),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("head/dense")));
}

// Nobody answers at the coordinator's address, so nothing is promoted.
TEST(WithoutAVersionTest, InferIsAFailedPrecondition) {
  const auto channels = rpc::MakeTcpChannelFactory();
  ServiceOptions options;
  options.coordinator = "127.0.0.1:1";
  ASSERT_OK_AND_ASSIGN(const auto service, Service::Create(options, channels));
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::RpcServer::Start({}, service->services()));
  ASSERT_THAT(service->Start(), IsOk());
  OipClient oip(channels->Connect("127.0.0.1:" + std::to_string(server->port())));
  EXPECT_THAT(oip.Infer(MakeImageRequest({MakePicture(1)})),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  grpc::ClientContext context;
  inference::ModelReadyRequest request;
  inference::ModelReadyResponse ready;
  request.set_name("ensemble");
  ASSERT_TRUE(oip.stub->ModelReady(&context, request, &ready).ok());
  EXPECT_FALSE(ready.ready());
}

}  // namespace
}  // namespace atelier::aggregator
