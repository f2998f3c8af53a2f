// RELIABILITY's list of bad images through an aggregator, by both of its protocols: each is
// answered with its code and the index of the picture, and the next good request succeeds.
#include "tests/integration/bad_input/aggregator_fixture.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// One server for all cases: what a case leaves behind, the next ones meet.
PictureServer& Server() {
  static auto* server = new PictureServer;
  return *server;
}

class BadPictureToPredictTest : public ::testing::TestWithParam<vision::BadPicture> {};

TEST_P(BadPictureToPredictTest, HasItsCodeAndTheNextGoodRequestSucceeds) {
  const vision::BadPicture& bad = GetParam();
  const std::string good = vision::ReadTestData("plain.jpg");
  const auto refused = StatusIs(bad.code, AllOf(HasSubstr("picture 1"), HasSubstr(bad.reason)));
  ASSERT_OK_AND_ASSIGN(const std::string answer, Server().Predict({good}));

  EXPECT_THAT(Server().Predict({good, bad.bytes, good}), refused);
  EXPECT_THAT(Server().Predict({good}), IsOkAndHolds(answer));
  EXPECT_THAT(Server().Infer(MakeImageRequest({good, bad.bytes, good})), refused);
  EXPECT_THAT(Server().Infer(MakeImageRequest({good})), IsOkAndHolds(answer));
}

INSTANTIATE_TEST_SUITE_P(List, BadPictureToPredictTest, ::testing::ValuesIn(vision::BadPictures()),
                         [](const auto& test) { return test.param.name; });

TEST(PicturesToPredict, AtALimitAreAnswered) {
  for (const vision::GoodPicture& picture : vision::PicturesAtALimit()) {
    EXPECT_THAT(Server().Predict({picture.bytes}), IsOk()) << picture.name;
    EXPECT_THAT(Server().Infer(MakeImageRequest({picture.bytes})), IsOk()) << picture.name;
  }
}

TEST(PicturesToPredict, EachLimitIsTheServers) {
  const std::string picture = vision::ReadTestData("rgb.png");  // 20 x 12
  const auto bytes = static_cast<int64_t>(picture.size());
  const struct {
    vision::DecodeLimits at;
    vision::DecodeLimits under;
    bool also_decoded;  // the limit holds for pictures that come decoded, too
  } cases[] = {
      {{.max_bytes = bytes}, {.max_bytes = bytes - 1}, false},
      {{.max_pixels = 240}, {.max_pixels = 239}, true},
      {{.max_side = 20}, {.max_side = 19}, true},
      {{.max_aspect = 1.67}, {.max_aspect = 1.66}, true},
  };
  inference::ModelInferRequest decoded;
  decoded.set_model_name("ensemble");
  auto& input = *decoded.add_inputs();
  input.set_name("pixels");
  input.set_datatype("UINT8");
  for (const int64_t dim : {1, 12, 20, 3}) input.add_shape(dim);
  decoded.add_raw_input_contents(std::string(20 * 12 * 3, '\x42'));
  constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;
  for (const auto& test : cases) {
    PictureServer at(test.at);
    EXPECT_THAT(at.Predict({picture}), IsOk());
    EXPECT_THAT(at.Infer(decoded), IsOk());
    PictureServer under(test.under);
    EXPECT_THAT(under.Predict({picture}), StatusIs(kTooMuch));
    EXPECT_EQ(under.Infer(decoded).ok(), !test.also_decoded);
    if (test.also_decoded) {
      EXPECT_THAT(under.Infer(decoded), StatusIs(kTooMuch));
    }
  }
}

}  // namespace
}  // namespace atelier::aggregator
