#include "common/ensemble/combine.h"

#include "tests/testing/status_matchers.h"

namespace atelier::ensemble {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Mean, IsTheArithmeticMeanElementByElement) {
  const std::vector<Probabilities> members = {{2, 2, {1.0F, 0.0F, 0.25F, 0.75F}},
                                              {2, 2, {0.5F, 0.5F, 0.75F, 0.25F}}};
  ASSERT_OK_AND_ASSIGN(const Probabilities mean, Mean(members));
  EXPECT_THAT(mean.values, ElementsAre(0.75F, 0.25F, 0.5F, 0.5F));
}

TEST(Mean, OfOneMemberIsThatMemberToTheBit) {
  const std::vector<Probabilities> members = {{1, 3, {0.1F, 0.2F, 0.7F}}};
  ASSERT_OK_AND_ASSIGN(const Probabilities mean, Mean(members));
  EXPECT_EQ(mean.values, members[0].values);
}

TEST(Mean, RefusesNothingAndDifferentShapes) {
  EXPECT_THAT(Mean({}), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<Probabilities> members = {{1, 2, {1, 0}}, {1, 3, {1, 0, 0}}};
  EXPECT_THAT(Mean(members), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 x 3")));
}

TEST(ArgMax, TheLowerIndexWinsATie) {
  EXPECT_EQ(ArgMax(std::vector<float>{0.4F, 0.4F, 0.2F}), 0);
  EXPECT_EQ(ArgMax(std::vector<float>{0.1F, 0.2F, 0.7F}), 2);
  EXPECT_EQ(ArgMax({}), -1);
}

TEST(Matrix, RoundTripsAndChecksItsBytes) {
  const Probabilities original{1, 2, {0.25F, 0.75F}};
  v1::Matrix matrix = ToMatrix(original);
  ASSERT_OK_AND_ASSIGN(const Probabilities back, FromMatrix(matrix));
  EXPECT_EQ(back.values, original.values);
  matrix.set_rows(2);
  EXPECT_THAT(FromMatrix(matrix), StatusIs(absl::StatusCode::kInvalidArgument));
  matrix.set_rows(-1);
  EXPECT_THAT(FromMatrix(matrix), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace atelier::ensemble
