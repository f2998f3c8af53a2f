#include "services/aggregator/oip_request.h"

#include <gmock/gmock.h>

#include "services/aggregator/oip_response.h"
#include "tests/integration/bad_input/rpc_oip_cases.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kMax = 64;

inference::ModelInferRequest ImageRequest() { return TwoImagesRequest({"first", ""}); }

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
  const inference::ModelInferRequest request = TwoPixelPicturesRequest();
  ASSERT_OK_AND_ASSIGN(const OipRequest raw, ParseOipRequest(request, kMax));
  EXPECT_EQ(raw.pictures.pixels, "ABCDEFGHIJKL");
  EXPECT_EQ(raw.pictures.height, 1);
  EXPECT_EQ(raw.pictures.width, 2);
  inference::ModelInferRequest typed = TwoPixelPicturesRequest();
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

class OipBadInputTest : public ::testing::TestWithParam<OipBadCase> {};

TEST_P(OipBadInputTest, IsRefusedWithItsCode) {
  inference::ModelInferRequest request =
      GetParam().pixels ? TwoPixelPicturesRequest() : ImageRequest();
  GetParam().spoil(request);
  const absl::Status status = ParseOipRequest(request, kMax).status();
  EXPECT_THAT(status, StatusIs(GetParam().code));
  EXPECT_GT(status.message().size(), 10);
  EXPECT_LT(status.message().size(), 300);
}

INSTANTIATE_TEST_SUITE_P(Table, OipBadInputTest, ::testing::ValuesIn(OipBadCases()),
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
  EXPECT_EQ(response.raw_output_contents(1), BytesElement("house"));
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
