// One rule for training and serving: EXIF orientations 1..8, CMYK, 16 bits, alpha, palette, grey,
// animations become the same pixels in the data-service's batches and in the aggregator, and these
// are the golden ones of tests/unit/vision/testdata.
#include "common/vision/decode.h"
#include "common/vision/grayscale.h"
#include "common/vision/resize.h"
#include "services/aggregator/picture_preparation.h"
#include "tests/integration/bad_input/aggregator_fixture.h"
#include "tests/integration/bad_input/data_fixture.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier {
namespace {

using ::atelier::testing::IsOkAndHolds;
using vision::GoldenPicture;

vision::Image Golden(const GoldenPicture& picture) {
  return vision::ReadRaw(picture.name + ".rgb", picture.height, picture.width);
}

v1::ImageSpec Spec(v1::ResizeFilter filter, int channels) {
  v1::ImageSpec spec;
  spec.set_size(16);
  spec.set_filter(filter);
  spec.set_channels(channels);
  return spec;
}

// What a member with this spec is given by the aggregator.
std::string Served(const std::string& bytes, const v1::ImageSpec& spec) {
  v1::EnsembleMember member;
  *member.mutable_model()->mutable_image() = spec;
  aggregator::Pictures pictures;
  pictures.encoded = {bytes};
  pictures.count = 1;
  const aggregator::PreparationPlan plan = aggregator::PlanPreparation({&member});
  const auto room = aggregator::MakeRoom(plan, 1);
  EXPECT_THAT(aggregator::PreparePicture(pictures, 0, plan, room), testing::IsOk());
  return room[0]->bytes;
}

class OneRuleTest : public data::DataServiceTest {
 protected:
  void SetUp() override {
    DataServiceTest::SetUp();
    for (const GoldenPicture& picture : vision::GoldenPictures()) {
      // The name says nothing about the format.
      data::Write(root() / "golden" / "all" / (picture.name + ".jpg"),
                  vision::ReadTestData(picture.name));
    }
    ASSERT_OK_AND_ASSIGN(described_, Describe("golden"));
  }

  // What a trainer is given, by file.
  std::map<std::string, std::string> Trained(const v1::ImageSpec& spec) {
    v1::DataPlan plan = PlanOf("golden", described_.summary.digest());
    *plan.mutable_image() = spec;
    const auto batches = Epoch(plan).value();
    std::map<std::string, std::string> pictures;
    const auto side = static_cast<size_t>(spec.size());
    const size_t bytes = side * side * static_cast<size_t>(spec.channels());
    for (const v1::Batch& batch : batches) {
      for (int i = 0; i < batch.size(); ++i) {
        const v1::Sample& sample = described_.samples[batch.sample_ids(i)];
        pictures[sample.file()] = batch.pixels().substr(bytes * static_cast<size_t>(i), bytes);
      }
    }
    return pictures;
  }

  data::DatasetDescription described_;
};

TEST_F(OneRuleTest, TrainingAndServingSeeTheGoldenPixels) {
  EXPECT_EQ(described_.summary.quarantined_size(), 0);
  for (const v1::ResizeFilter filter : {v1::NEAREST, v1::BILINEAR, v1::AREA}) {
    for (const int channels : {1, 3}) {
      const v1::ImageSpec spec = Spec(filter, channels);
      std::map<std::string, std::string> trained = Trained(spec);
      for (const GoldenPicture& picture : vision::GoldenPictures()) {
        SCOPED_TRACE(picture.name);
        const std::string& seen = trained["all/" + picture.name + ".jpg"];
        EXPECT_TRUE(seen == Served(vision::ReadTestData(picture.name), spec));
        vision::Image golden = Golden(picture);
        if (channels == 1) golden = vision::ToGrayscale(golden);
        const vision::Image seen_image{16, 16, channels, {seen.begin(), seen.end()}};
        EXPECT_EQ(vision::PartBeyond(seen_image, vision::Resize(golden, spec), picture.tolerance),
                  0.0);
      }
    }
  }
}

TEST_F(OneRuleTest, ThePredictionIsTheGoldenPixels) {
  aggregator::PictureServer server;
  for (const GoldenPicture& picture : vision::GoldenPictures()) {
    if (picture.tolerance > 0) continue;
    SCOPED_TRACE(picture.name);
    const vision::Image golden = Golden(picture);
    inference::ModelInferRequest pixels;
    pixels.set_model_name("ensemble");
    auto& input = *pixels.add_inputs();
    input.set_name("pixels");
    input.set_datatype("UINT8");
    for (const int64_t dim : {1, picture.height, picture.width, 3}) input.add_shape(dim);
    pixels.add_raw_input_contents(std::string(golden.pixels.begin(), golden.pixels.end()));
    ASSERT_OK_AND_ASSIGN(const std::string expected, server.Infer(pixels));
    const std::string bytes = vision::ReadTestData(picture.name);
    EXPECT_THAT(server.Infer(aggregator::MakeImageRequest({bytes})), IsOkAndHolds(expected));
    EXPECT_THAT(server.Predict({bytes}), IsOkAndHolds(expected));
  }
}

}  // namespace
}  // namespace atelier
