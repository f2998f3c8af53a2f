#include "services/aggregator/oip_request.h"

#include <gmock/gmock.h>

#include <functional>
#include <limits>

#include "services/aggregator/oip_response.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kMax = 64;

std::string Element(const std::string& bytes) {
  std::string element;
  for (int shift = 0; shift < 32; shift += 8) {
    element.push_back(static_cast<char>(bytes.size() >> shift));
  }
  return element + bytes;
}

inference::ModelInferRequest ImageRequest() {
  inference::ModelInferRequest request;
  request.set_model_name("ensemble");
  auto& input = *request.add_inputs();
  input.set_name("image");
  input.set_datatype("BYTES");
  input.add_shape(2);
  request.add_raw_input_contents(Element("first") + Element(""));
  return request;
}

inference::ModelInferRequest PixelRequest() {
  inference::ModelInferRequest request;
  auto& input = *request.add_inputs();
  input.set_name("pixels");
  input.set_datatype("UINT8");
  for (const int dim : {2, 1, 2, 3}) input.add_shape(dim);
  request.add_raw_input_contents(std::string("ABCDEFGHIJKL"));
  return request;
}

TEST(OipRequestTest, ReadsRawAndTypedImagesAlike) {
  inference::ModelInferRequest request = ImageRequest();
  ASSERT_OK_AND_ASSIGN(const OipRequest raw, ParseOipRequest(request, kMax));
  EXPECT_THAT(raw.pictures.encoded, ElementsAre("first", ""));
  EXPECT_EQ(raw.pictures.count, 2);
  inference::ModelInferRequest typed = ImageRequest();
  typed.clear_raw_input_contents();
  typed.mutable_inputs(0)->mutable_contents()->add_bytes_contents("first");
  typed.mutable_inputs(0)->mutable_contents()->add_bytes_contents("");
  ASSERT_OK_AND_ASSIGN(const OipRequest parsed, ParseOipRequest(typed, kMax));
  EXPECT_EQ(parsed.pictures.encoded, raw.pictures.encoded);
}

TEST(OipRequestTest, ReadsRawAndTypedPixelsAlike) {
  const inference::ModelInferRequest request = PixelRequest();
  ASSERT_OK_AND_ASSIGN(const OipRequest raw, ParseOipRequest(request, kMax));
  EXPECT_EQ(raw.pictures.pixels, "ABCDEFGHIJKL");
  EXPECT_EQ(raw.pictures.height, 1);
  EXPECT_EQ(raw.pictures.width, 2);
  inference::ModelInferRequest typed = PixelRequest();
  typed.clear_raw_input_contents();
  for (const char c : std::string("ABCDEFGHIJKL")) {
    typed.mutable_inputs(0)->mutable_contents()->add_uint_contents(static_cast<uint8_t>(c));
  }
  ASSERT_OK_AND_ASSIGN(const OipRequest parsed, ParseOipRequest(typed, kMax));
  EXPECT_EQ(parsed.pictures.pixels, raw.pictures.pixels);
}

TEST(OipRequestTest, TakesTheOutputsAskedForAndTheTimeout) {
  inference::ModelInferRequest request = ImageRequest();
  request.add_outputs()->set_name("label");
  (*request.mutable_parameters())["timeout"].set_int64_param(1500);
  ASSERT_OK_AND_ASSIGN(const OipRequest parsed, ParseOipRequest(request, kMax));
  EXPECT_FALSE(parsed.want_probabilities);
  EXPECT_TRUE(parsed.want_labels);
  EXPECT_EQ(parsed.timeout, std::chrono::microseconds(1500));
}

struct BadCase {
  std::string name;
  std::function<void(inference::ModelInferRequest&)> spoil;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  bool pixels = false;
};

std::vector<BadCase> BadCases() {
  using Request = inference::ModelInferRequest;
  const auto dim = [](int index, int64_t value) {
    return [=](Request& r) { r.mutable_inputs(0)->set_shape(index, value); };
  };
  const auto kLimit = absl::StatusCode::kResourceExhausted;
  const auto kBad = absl::StatusCode::kInvalidArgument;
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  return {
      {"NoInput", [](Request& r) { r.clear_inputs(); }},
      {"UnknownInput", [](Request& r) { r.mutable_inputs(0)->set_name("picture"); }},
      {"LongName", [](Request& r) { r.mutable_inputs(0)->set_name(std::string(100'000, 'x')); }},
      {"RepeatedInput", [](Request& r) { *r.add_inputs() = r.inputs(0); }},
      {"BothInputs",
       [](Request& r) {
         *r.add_inputs() = PixelRequest().inputs(0);
         r.add_raw_input_contents("ABCDEFGHIJKL");
       }},
      {"WrongType", [](Request& r) { r.mutable_inputs(0)->set_datatype("FP32"); }},
      {"NoShape", [](Request& r) { r.mutable_inputs(0)->clear_shape(); }},
      {"WrongRank", [](Request& r) { r.mutable_inputs(0)->add_shape(1); }},
      {"EmptyBatch", dim(0, 0)},
      {"NegativeBatch", dim(0, -1)},
      {"HugeBatch", dim(0, kHuge)},
      {"SmallestBatch", dim(0, std::numeric_limits<int64_t>::min())},
      {"OverTheLimit", dim(0, 65), kLimit},
      {"MoreThanSent", dim(0, 3)},
      {"FewerThanSent", dim(0, 1)},
      {"NoContents", [](Request& r) { r.clear_raw_input_contents(); }},
      {"LengthPastTheEnd",
       [](Request& r) { r.set_raw_input_contents(0, Element("a") + "\xff\xff\xff\xff"); }},
      {"CutLength", [](Request& r) { r.set_raw_input_contents(0, Element("a") + "\x01"); }},
      {"LeftOver", [](Request& r) { r.mutable_raw_input_contents(0)->append("x"); }},
      {"TwoRaw", [](Request& r) { r.add_raw_input_contents("x"); }},
      {"RawAndTyped",
       [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_bytes_contents("x"); }},
      {"OtherTypedContents",
       [](Request& r) {
         r.clear_raw_input_contents();
         auto& contents = *r.mutable_inputs(0)->mutable_contents();
         contents.add_bytes_contents("x");
         contents.add_bytes_contents("y");
         contents.add_fp32_contents(std::numeric_limits<float>::quiet_NaN());
       }},
      {"UnknownOutput", [](Request& r) { r.add_outputs()->set_name("logits"); }},
      {"RepeatedOutput",
       [](Request& r) {
         r.add_outputs()->set_name("label");
         r.add_outputs()->set_name("label");
       }},
      {"SharedMemory",
       [](Request& r) {
         (*r.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("x");
       }},
      {"Classification",
       [](Request& r) {
         auto& output = *r.add_outputs();
         output.set_name("probabilities");
         (*output.mutable_parameters())["classification"].set_int64_param(3);
       }},
      {"PixelsWrongType", [](Request& r) { r.mutable_inputs(0)->set_datatype("FP32"); }, kBad,
       true},
      {"PixelsChannels", dim(3, 4), kBad, true},
      {"PixelsZeroSide", dim(1, 0), kBad, true},
      {"PixelsNegativeSide", dim(2, -1), kBad, true},
      {"PixelsHugeSide", dim(1, kHuge), kBad, true},
      {"PixelsProductOverflow",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(1, (int64_t{1} << 31) - 1);
         r.mutable_inputs(0)->set_shape(2, (int64_t{1} << 31) - 1);
       },
       kBad, true},
      {"PixelsTooFewBytes", [](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); }, kBad,
       true},
      {"PixelsTooManyBytes", [](Request& r) { r.mutable_raw_input_contents(0)->append("x"); }, kBad,
       true},
      {"PixelsRank", [](Request& r) { r.mutable_inputs(0)->mutable_shape()->RemoveLast(); }, kBad,
       true},
      {"PixelsValueOver255",
       [](Request& r) {
         r.clear_raw_input_contents();
         for (int i = 0; i < 12; ++i)
           r.mutable_inputs(0)->mutable_contents()->add_uint_contents(256);
       },
       kBad, true},
  };
}

class OipBadInputTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(OipBadInputTest, IsRefusedWithItsCode) {
  inference::ModelInferRequest request = GetParam().pixels ? PixelRequest() : ImageRequest();
  GetParam().spoil(request);
  const absl::Status status = ParseOipRequest(request, kMax).status();
  EXPECT_THAT(status, StatusIs(GetParam().code));
  EXPECT_GT(status.message().size(), 10);
  EXPECT_LT(status.message().size(), 300);
}

INSTANTIATE_TEST_SUITE_P(Table, OipBadInputTest, ::testing::ValuesIn(BadCases()),
                         [](const auto& test) { return test.param.name; });

class OipResponseTest : public ::testing::Test {
 protected:
  OipResponseTest() {
    auto version = std::make_shared<ServedVersion>();
    version->ensemble = MakeVersion({"a", "b"}, 3);
    for (const auto& spec : version->ensemble.members()) {
      version->members.push_back(std::make_shared<FakeMember>(spec));
    }
    model.version = version;
    model.name = "ensemble";
    model.members = {0, 1};
    prediction.probabilities = {1, 2, {0.25F, 0.75F}};
    prediction.labels = {"house"};
    prediction.members_used = {"a"};
    prediction.members_failed = {"b"};
    prediction.degraded = true;
  }
  ServedModel model;
  Prediction prediction;
};

TEST_F(OipResponseTest, CarriesBothOutputsRawAndTheParameters) {
  inference::ModelInferRequest request = ImageRequest();
  request.set_id("seven");
  const auto response = MakeOipResponse(request, OipRequest{}, model, prediction);
  EXPECT_EQ(response.id(), "seven");
  EXPECT_EQ(response.model_version(), "3");
  ASSERT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs(0).name(), "probabilities");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 2));
  EXPECT_EQ(response.raw_output_contents(0), std::string("\0\0\x80\x3e\0\0\x40\x3f", 8));
  EXPECT_EQ(response.raw_output_contents(1), Element("house"));
  EXPECT_EQ(response.parameters().at("members_used").string_param(), "a");
  EXPECT_EQ(response.parameters().at("members_failed").string_param(), "b");
  EXPECT_TRUE(response.parameters().at("degraded").bool_param());
  EXPECT_EQ(response.parameters().at("ensemble_version").string_param(), "paintings@3");
}

TEST_F(OipResponseTest, KeepsTheOrderWhateverTheRequestsOrder) {
  inference::ModelInferRequest request = ImageRequest();
  request.add_outputs()->set_name("label");
  request.add_outputs()->set_name("probabilities");
  ASSERT_OK_AND_ASSIGN(const OipRequest parsed, ParseOipRequest(request, kMax));
  const auto response = MakeOipResponse(request, parsed, model, prediction);
  EXPECT_EQ(response.outputs(0).name(), "probabilities");
  EXPECT_EQ(response.outputs(1).name(), "label");
}

TEST_F(OipResponseTest, MetadataAndConfigAgree) {
  const auto metadata = MakeOipMetadata(model);
  const auto config = MakeOipConfig(model, kMax);
  ASSERT_EQ(metadata.inputs_size(), config.input_size());
  for (int i = 0; i < config.input_size(); ++i) {
    EXPECT_EQ(metadata.inputs(i).name(), config.input(i).name());
    EXPECT_THAT(metadata.inputs(i).shape(), ::testing::ElementsAreArray(config.input(i).dims()));
  }
  EXPECT_THAT(metadata.outputs(0).shape(), ElementsAre(-1, 2));
  EXPECT_EQ(config.ensemble_scheduling().step_size(), 2);
  EXPECT_EQ(config.version_policy().specific().versions(0), 3);
}

}  // namespace
}  // namespace atelier::aggregator
