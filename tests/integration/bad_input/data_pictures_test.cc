// RELIABILITY's list of bad images through a data-service: each is quarantined with its reason and
// the run goes on within the budget, beyond it there is a clear error; the next good request
// succeeds.
#include <cmath>

#include "tests/integration/bad_input/data_fixture.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class BadPictureInADatasetTest : public DataServiceTest,
                                 public ::testing::WithParamInterface<vision::BadPicture> {};

TEST_P(BadPictureInADatasetTest, IsQuarantinedWithItsReasonAndTheRunGoesOn) {
  const vision::BadPicture& bad = GetParam();
  ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
  Write(root() / "good" / "cat" / "bad.jpg", bad.bytes);

  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("good"));
  ASSERT_EQ(described.summary.quarantined_size(), 1);
  EXPECT_EQ(described.summary.quarantined(0).file(), "cat/bad.jpg");
  EXPECT_THAT(described.summary.quarantined(0).reason(), HasSubstr(bad.reason));
  EXPECT_EQ(described.summary.digest(), good.summary.digest());
  ASSERT_OK_AND_ASSIGN(const auto batches, Epoch(PlanOf("good", described.summary.digest())));
  EXPECT_EQ(batches.size(), 2 * kPerClass / kBatch);

  EXPECT_THAT(Describe("good", 0.01),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("1 of 61 files"), HasSubstr("cat/bad.jpg"),
                             HasSubstr(bad.reason), HasSubstr("bad_sample_budget"))));
  std::filesystem::remove(root() / "good" / "cat" / "bad.jpg");
  ExpectGoodRequestsSucceed();
}

INSTANTIATE_TEST_SUITE_P(List, BadPictureInADatasetTest, ::testing::ValuesIn(vision::BadPictures()),
                         [](const auto& test) { return test.param.name; });

class BadPicturesTest : public DataServiceTest {};

TEST_F(BadPicturesTest, AllTogetherAreBeyondTheDefaultBudgetAndWithinALargerOne) {
  WriteClasses(root() / "all", kPerClass);
  for (const vision::BadPicture& bad : vision::BadPictures()) {
    Write(root() / "all" / "dog" / (bad.name + ".png"), bad.bytes);
  }
  const auto files = 2 * kPerClass + vision::BadPictures().size();
  EXPECT_THAT(Describe("all"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                        HasSubstr(std::to_string(vision::BadPictures().size()) +
                                                  " of " + std::to_string(files) + " files")));
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("all", 0.9));
  EXPECT_EQ(described.summary.quarantined_size(), vision::BadPictures().size());
  EXPECT_EQ(described.summary.labeled(), 2 * kPerClass);
  EXPECT_THAT(Epoch(PlanOf("all", described.summary.digest())), IsOk());
}

TEST_F(BadPicturesTest, OneFileMoreThanTheBudgetIsTooMany) {
  // 3 of 63 files are 4.8 %, 4 of 64 are 6.3 %.
  for (int i = 0; i < 3; ++i) Write(root() / "good" / "cat" / (std::to_string(i) + ".txt"), "text");
  EXPECT_THAT(Describe("good"), IsOk());
  Write(root() / "good" / "cat" / "3.txt", "text");
  EXPECT_THAT(Describe("good"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(BadPicturesTest, ABudgetThatIsNoneIsRefused) {
  for (const double budget : {-0.1, std::nan("")}) {
    EXPECT_THAT(Describe("good", budget),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad_sample_budget")));
    ExpectGoodRequestsSucceed();
  }
}

TEST_F(BadPicturesTest, AtTheLimitsTheyAreSamples) {
  for (const vision::GoodPicture& picture : vision::PicturesAtALimit()) {
    Write(root() / "large" / "cat" / (picture.name + ".png"), picture.bytes);
    Write(root() / "large" / "dog" / (picture.name + ".png"), picture.bytes + "x");
  }
  // The byte behind the end makes other files of them, and one of them a byte too large.
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("large", 0.2));
  ASSERT_EQ(described.summary.quarantined_size(), 1);
  EXPECT_EQ(described.summary.quarantined(0).file(), "dog/Of12MiB.png");
  EXPECT_EQ(described.summary.labeled(), 2 * vision::PicturesAtALimit().size() - 1);
  ASSERT_OK_AND_ASSIGN(const auto batches, Epoch(PlanOf("large", described.summary.digest())));
  EXPECT_EQ(batches.size(), 1);
}

TEST_F(BadPicturesTest, EachLimitIsTheServices) {
  const std::string bytes = vision::ReadTestData("rgb.png");  // 20 x 12
  Write(root() / "one" / "cat" / "1.png", bytes);
  const struct {
    vision::DecodeLimits at;
    vision::DecodeLimits under;
  } cases[] = {
      {{.max_bytes = static_cast<int64_t>(bytes.size())},
       {.max_bytes = static_cast<int64_t>(bytes.size()) - 1}},
      {{.max_pixels = 240}, {.max_pixels = 239}},
      {{.max_side = 20}, {.max_side = 19}},
      {{.max_aspect = 1.67}, {.max_aspect = 1.66}},
  };
  for (const auto& test : cases) {
    Start(test.at);
    ASSERT_OK_AND_ASSIGN(const DatasetDescription at, Describe("one", 1));
    EXPECT_EQ(at.summary.quarantined_size(), 0);
    Start(test.under);
    ASSERT_OK_AND_ASSIGN(const DatasetDescription under, Describe("one", 1));
    EXPECT_EQ(under.summary.quarantined_size(), 1);
  }
}

TEST_F(BadPicturesTest, AFileSpoiltAfterTheDescriptionEndsTheStreamAndNothingElse) {
  WriteClasses(root() / "spoilt", kPerClass);
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("spoilt"));
  const v1::DataPlan plan = PlanOf("spoilt", described.summary.digest());
  const std::string file = described.samples[5].file();
  Write(root() / "spoilt" / file, "spoilt");
  EXPECT_THAT(Epoch(plan), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(file)));
  ExpectGoodRequestsSucceed();
}

}  // namespace
}  // namespace atelier::data
