#include "common/ensemble/metrics.h"

#include <cmath>

#include "tests/testing/status_matchers.h"

namespace atelier::ensemble {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;

TEST(Score, CountsAccuracyLossAndConfusion) {
  const Probabilities p{3, 2, {0.9F, 0.1F, 0.4F, 0.6F, 0.8F, 0.2F}};
  ASSERT_OK_AND_ASSIGN(const Metrics metrics, Score(p, std::vector<int>{0, 1, 1}));
  EXPECT_EQ(metrics.images, 3);
  EXPECT_DOUBLE_EQ(metrics.accuracy, 2.0 / 3.0);
  EXPECT_NEAR(metrics.log_loss, -(std::log(0.9) + std::log(0.6) + std::log(0.2)) / 3, 1e-7);
  EXPECT_THAT(metrics.confusion, ElementsAre(1, 0, 1, 1));
}

TEST(Score, ACertainMistakeCostsAFiniteLoss) {
  const Probabilities p{1, 2, {1.0F, 0.0F}};
  ASSERT_OK_AND_ASSIGN(const Metrics metrics, Score(p, std::vector<int>{1}));
  EXPECT_NEAR(metrics.log_loss, -std::log(1e-7), 1e-6);
}

// Its size is the square of the classes': a run with the matrix of many would fit no message.
TEST(Score, LeavesTheConfusionOfVeryManyClassesOut) {
  for (const int classes : {kMaxConfusionClasses, kMaxConfusionClasses + 1, 100'000}) {
    Probabilities p{1, classes, std::vector<float>(static_cast<size_t>(classes))};
    p.values.back() = 1;
    ASSERT_OK_AND_ASSIGN(const Metrics metrics, Score(p, std::vector<int>{classes - 1}));
    EXPECT_EQ(metrics.accuracy, 1);
    EXPECT_EQ(metrics.confusion.size(), classes == kMaxConfusionClasses ? 1'000'000U : 0U);
  }
}

TEST(Score, RefusesWrongLabels) {
  const Probabilities p{1, 2, {1.0F, 0.0F}};
  EXPECT_THAT(Score(p, std::vector<int>{}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Score(p, std::vector<int>{2}), StatusIs(absl::StatusCode::kInvalidArgument));
}

// Reference: scipy.stats.binomtest(162, 170).proportion_ci(method="wilson").
TEST(WilsonInterval, AgreesWithScipy) {
  const Interval interval = WilsonInterval(162, 170);
  EXPECT_NEAR(interval.low, 0.9099001610, 1e-9);
  EXPECT_NEAR(interval.high, 0.9759644713, 1e-9);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1.0);
  EXPECT_EQ(WilsonInterval(5, 5).high, 1.0);
}

}  // namespace
}  // namespace atelier::ensemble
