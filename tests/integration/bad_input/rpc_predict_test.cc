// RELIABILITY, "RPC": bad content of the aggregator's calls, over both protocols.
#include <fstream>
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
                StatusIs(kInvalid, ::testing::HasSubstr("UTF-8")));
    ExpectNextGoodRequestSucceeds();
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // whose own memory counts

// The most that was ever resident of this process.
int64_t PeakBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  int64_t kibibytes = 0;
  status >> kibibytes;
  return kibibytes << 10;
}

struct ManyCase {
  std::string name;
  std::string method;
  std::string element;  // on the wire
  absl::StatusCode code = kInvalid;
};

// As many elements as fit into a message: parsed, they would take gigabytes.
class ManyElements : public BadRpcTest, public ::testing::WithParamInterface<ManyCase> {};

TEST_P(ManyElements, AreRefusedBeforeTheyTakeMemory) {
  const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port()),
                                           grpc::InsecureChannelCredentials());
  std::string bytes;
  while (bytes.size() + GetParam().element.size() < rpc::kPictureReceiveBytes) {
    bytes += GetParam().element;
  }
  ExpectNextGoodRequestSucceeds();
  const int64_t before = PeakBytes();
  ASSERT_GT(before, 0);
  EXPECT_THAT(atelier::testing::CallWithBytes(channel, GetParam().method, bytes, kPatience),
              StatusIs(GetParam().code));
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_LT(PeakBytes() - before, 64 * kMiB);
  ExpectNextGoodRequestSucceeds();
}

constexpr char kInfer[] = "/inference.GRPCInferenceService/ModelInfer";

INSTANTIATE_TEST_SUITE_P(
    Rpc, ManyElements,
    ::testing::Values(ManyCase{"Inputs", kInfer, std::string("\x2a\0", 2)},
                      ManyCase{"RawContents", kInfer, std::string("\x3a\0", 2), kLimit},
                      ManyCase{"UnknownFields", kInfer, std::string("\x7a\0", 2)},
                      ManyCase{"UnknownFieldsOfAnotherCall",
                               "/inference.GRPCInferenceService/ServerLive",
                               std::string("\x7a\0", 2)},
                      ManyCase{"ParametersOfACallThatThereIsNot",
                               "/inference.GRPCInferenceService/RepositoryModelLoad",
                               std::string("\x1a\0", 2), absl::StatusCode::kUnimplemented},
                      ManyCase{"OwnProtocolsPictures", "/atelier.v1.AggregatorService/Predict",
                               std::string("\x0a\0", 2), kLimit}),
    [](const auto& test) { return test.param.name; });

#endif

// What the answers of one stream say to these messages, whatever their bytes are.
std::vector<std::string> StreamErrors(const std::shared_ptr<grpc::Channel>& channel,
                                      const std::vector<std::string>& messages) {
  grpc::internal::RpcMethod method("/inference.GRPCInferenceService/ModelStreamInfer",
                                   grpc::internal::RpcMethod::BIDI_STREAMING, channel);
  grpc::ClientContext context;
  using Stream = grpc::ClientReaderWriter<grpc::ByteBuffer, inference::ModelStreamInferResponse>;
  const std::unique_ptr<Stream> stream(
      grpc::internal::ClientReaderWriterFactory<
          grpc::ByteBuffer, inference::ModelStreamInferResponse>::Create(channel.get(), method,
                                                                         &context));
  for (const std::string& message : messages) {
    grpc::Slice slice(message);
    EXPECT_TRUE(stream->Write(grpc::ByteBuffer(&slice, 1)));
  }
  stream->WritesDone();
  std::vector<std::string> errors;
  inference::ModelStreamInferResponse answer;
  while (stream->Read(&answer)) errors.push_back(answer.error_message());
  EXPECT_TRUE(stream->Finish().ok());
  return errors;
}

TEST_F(Limits, MessagesRefusedUnparsedDoNotEndTheirStream) {
  const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port()),
                                           grpc::InsecureChannelCredentials());
  std::string many;
  for (int i = 0; i < 1'000; ++i) many += std::string("\x2a\0", 2);
  std::vector<std::string> messages = atelier::testing::Garbage();
  messages.push_back(many);
  messages.push_back(MakeImageRequest({picture()}).SerializeAsString());
  const std::vector<std::string> errors = StreamErrors(channel, messages);
  ASSERT_EQ(errors.size(), messages.size());
  for (size_t i = 0; i + 1 < errors.size(); ++i) {
    EXPECT_THAT(errors[i], StartsWith("INVALID_ARGUMENT")) << i;
  }
  EXPECT_EQ(errors.back(), "");
}

INSTANTIATE_TEST_SUITE_P(Rpc, Garbage,
                         ::testing::Values("/inference.GRPCInferenceService/ModelInfer",
                                           "/inference.GRPCInferenceService/ModelReady"));

}  // namespace
}  // namespace atelier::aggregator
