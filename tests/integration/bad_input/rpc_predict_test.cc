// RELIABILITY, "RPC": bad content of the aggregator's calls, over both protocols.
#include <functional>

#include "tests/integration/bad_input/rpc_oip_cases.h"
#include "tests/integration/bad_input/rpc_serving.h"
#include "tests/testing/garbage_call.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::StartsWith;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kLimit = absl::StatusCode::kResourceExhausted;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

class OipRequests : public BadRpcTest, public ::testing::WithParamInterface<OipBadCase> {};

TEST_P(OipRequests, IsRefusedWithItsCodeAndTheNextGoodRequestSucceeds) {
  auto request =
      GetParam().pixels ? TwoPixelPicturesRequest() : TwoImagesRequest({picture(), picture()});
  request.set_model_name("ensemble");
  ASSERT_THAT(oip().Infer(request), IsOk()) << "the request to spoil must be a good one";
  GetParam().spoil(request);
  EXPECT_THAT(oip().Infer(request), StatusIs(GetParam().code));
  ExpectNextGoodRequestSucceeds();
  EXPECT_THAT(StreamError(request), StartsWith(absl::StatusCodeToString(GetParam().code)));
  ExpectNextGoodRequestSucceeds();
}

INSTANTIATE_TEST_SUITE_P(Rpc, OipRequests, ::testing::ValuesIn(OipBadCases()),
                         [](const auto& test) { return test.param.name; });

struct ModelCase {
  std::string name;
  std::string model;
  std::string version;
};

// Unknown models and versions; the names of RELIABILITY's "Names" are models nobody has.
class OipModels : public BadRpcTest, public ::testing::WithParamInterface<ModelCase> {};

TEST_P(OipModels, IsNotFoundAndTheNextGoodRequestSucceeds) {
  auto request = MakeImageRequest({picture()}, GetParam().model);
  request.set_model_version(GetParam().version);
  const auto answer = oip().Infer(request);
  EXPECT_THAT(answer, StatusIs(kNotFound));
  EXPECT_LT(answer.status().message().size(), 300);
  EXPECT_THAT(StreamError(request), StartsWith("NOT_FOUND"));

  const auto ask = [&](auto call, auto described, auto response) {
    described.set_name(GetParam().model);
    described.set_version(GetParam().version);
    grpc::ClientContext context;
    return rpc::FromGrpcStatus((oip().stub.get()->*call)(&context, described, &response));
  };
  using Stub = inference::GRPCInferenceService::Stub;
  EXPECT_THAT(ask(&Stub::ModelMetadata, inference::ModelMetadataRequest(),
                  inference::ModelMetadataResponse()),
              StatusIs(kNotFound));
  EXPECT_THAT(
      ask(&Stub::ModelConfig, inference::ModelConfigRequest(), inference::ModelConfigResponse()),
      StatusIs(kNotFound));
  EXPECT_THAT(
      ask(&Stub::ModelReady, inference::ModelReadyRequest(), inference::ModelReadyResponse()),
      IsOk());
  ExpectNextGoodRequestSucceeds();
}

INSTANTIATE_TEST_SUITE_P(
    Rpc, OipModels,
    ::testing::Values(
        ModelCase{"UnknownModel", "nobody", ""}, ModelCase{"UnknownVersion", "ensemble", "2"},
        ModelCase{"UnknownVersionOfAMember", "first", "2"},
        ModelCase{"VersionZero", "ensemble", "0"}, ModelCase{"VersionMinusOne", "ensemble", "-1"},
        ModelCase{"VersionLatest", "ensemble", "latest"},
        ModelCase{"VersionOf300Digits", "ensemble", std::string(300, '1')},
        ModelCase{"Dots", "../x", ""}, ModelCase{"Absolute", "/etc/x", ""},
        ModelCase{"PercentEncoded", "%2e%2e", ""},
        ModelCase{"Nul", std::string("ensemble\0x", 10), ""}, ModelCase{"Backslash", "a\\b", ""},
        ModelCase{"Letters300", std::string(300, 'x'), ""}, ModelCase{"Empty", "", ""}),
    [](const auto& test) { return test.param.name; });

struct PictureCase {
  std::string name;
  std::function<std::vector<std::string>(const std::string& good)> pictures;
  absl::StatusCode code;
};

// Whole requests whose pictures are at fault: the same code over both protocols. (The pictures
// themselves have a suite of their own; these are the ways in which a request may hold them.)
class Pictures : public BadRpcTest, public ::testing::WithParamInterface<PictureCase> {};

TEST_P(Pictures, IsRefusedByBothProtocolsAndTheNextGoodRequestSucceeds) {
  const std::vector<std::string> pictures = GetParam().pictures(picture());
  EXPECT_THAT(oip().Infer(MakeImageRequest(pictures)), StatusIs(GetParam().code));
  ExpectNextGoodRequestSucceeds();
  v1::AggregatorPredictRequest request;
  *request.mutable_images() = {pictures.begin(), pictures.end()};
  EXPECT_THAT(client().Predict(request), StatusIs(GetParam().code));
  ExpectNextGoodRequestSucceeds();
}

INSTANTIATE_TEST_SUITE_P(
    Rpc, Pictures,
    ::testing::Values(
        PictureCase{"EmptyBatch", [](auto&) { return std::vector<std::string>(); }, kInvalid},
        PictureCase{"OneEmptyPicture", [](auto&) { return std::vector<std::string>{""}; },
                    kInvalid},
        PictureCase{"SixtyFiveGoodOnes", [](auto& good) { return std::vector(65, good); }, kLimit},
        PictureCase{"TheLastOfSixtyFourIsText",
                    [](auto& good) {
                      std::vector<std::string> pictures(64, good);
                      pictures.back() = "no picture";
                      return pictures;
                    },
                    kInvalid},
        PictureCase{"AHundredThousandEmptyOnes",
                    [](auto&) { return std::vector<std::string>(100'000); }, kLimit},
        PictureCase{"AMessageOverSixteenMebibytes",
                    [](auto&) { return std::vector<std::string>{std::string(16 << 20, 'x')}; },
                    kLimit}),
    [](const auto& test) { return test.param.name; });

class Limits : public BadRpcTest {};

TEST_F(Limits, SixtyFourPicturesAreOneRequest) {
  EXPECT_EQ(RequestLimits().max_pictures, 64);
  const std::vector<std::string> pictures(64, picture());
  ASSERT_OK_AND_ASSIGN(const auto open, oip().Infer(MakeImageRequest(pictures)));
  EXPECT_THAT(open.outputs(0).shape(), ::testing::ElementsAre(64, 2));
  v1::AggregatorPredictRequest request;
  *request.mutable_images() = {pictures.begin(), pictures.end()};
  ASSERT_OK_AND_ASSIGN(const auto own, client().Predict(request));
  EXPECT_EQ(own.labels_size(), 64);
}

class Garbage : public BadRpcTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(Garbage, IsAnInvalidArgumentAndTheNextGoodRequestSucceeds) {
  const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port()),
                                           grpc::InsecureChannelCredentials());
  for (const std::string& bytes : atelier::testing::Garbage()) {
    EXPECT_THAT(atelier::testing::CallWithBytes(channel, GetParam(), bytes, kPatience),
                StatusIs(kInvalid));
    ExpectNextGoodRequestSucceeds();
  }
}

INSTANTIATE_TEST_SUITE_P(Rpc, Garbage,
                         ::testing::Values("/inference.GRPCInferenceService/ModelInfer",
                                           "/inference.GRPCInferenceService/ModelReady"));

}  // namespace
}  // namespace atelier::aggregator
