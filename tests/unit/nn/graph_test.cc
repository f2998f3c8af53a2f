#include "common/nn/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "common/nn/catalog.h"
#include "common/nn/initializers.h"
#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

int64_t Parameters(const Graph& graph) {
  int64_t total = 0;
  for (const Variable& v : graph.variables) {
    total += std::accumulate(v.shape.begin(), v.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return total;
}

TEST(GraphTest, ParameterCountsAreThoseOfKerasAndTimm) {
  EXPECT_EQ(Parameters(BuildBackboneGraph("xception").value()), 20'861'480);
  // 4,652,008 with the classifier of 1,281,000 in timm's count, plus 42,016 moving statistics.
  EXPECT_EQ(Parameters(BuildBackboneGraph("efficientnet_lite0").value()), 3'413'024);
}

TEST(GraphTest, EveryCatalogueEntryIsAWellFormedGraph) {
  for (const BackboneInfo& info : Backbones()) {
    for (const int channels : {1, 3}) {
      const Graph graph = BuildBackboneGraph(info.id, channels).value();
      EXPECT_EQ(graph.features(), info.features) << info.id;
      EXPECT_EQ(graph.nodes[0].channels, channels);
      std::set<std::string> names;
      for (size_t i = 0; i < graph.nodes.size(); ++i) {
        EXPECT_TRUE(names.insert(graph.nodes[i].name).second) << graph.nodes[i].name;
        for (const int input : graph.nodes[i].inputs) EXPECT_LT(input, static_cast<int>(i));
      }
      std::set<std::string> variables;
      for (const Variable& v : graph.variables) EXPECT_TRUE(variables.insert(v.name).second);
    }
  }
}

TEST(GraphTest, XceptionKeepsKerasNamesAndOrder) {
  const Graph graph = BuildBackboneGraph("xception").value();
  EXPECT_EQ(graph.variables[0].name, "block1_conv1/kernel");
  EXPECT_EQ(graph.variables[10].name, "block2_sepconv1/depthwise_kernel");
  EXPECT_EQ(graph.variables[11].name, "block2_sepconv1/pointwise_kernel");
  EXPECT_EQ(graph.variables[22].name, "conv2d/kernel");
  EXPECT_EQ(KerasShape(graph.variables[10]), (std::vector<int64_t>{3, 3, 64, 1}));
  EXPECT_EQ(KerasShape(graph.variables[11]), (std::vector<int64_t>{1, 1, 64, 128}));
}

TEST(CatalogTest, UnknownBackboneNamesWhatThereIs) {
  EXPECT_THAT(FindBackbone("vgg"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("efficientnet_lite0")));
  EXPECT_THAT(BuildBackboneGraph("xception", 4), StatusIs(absl::StatusCode::kInvalidArgument));
}

struct Moments {
  double mean, deviation, largest;
};
Moments Draw(Initializer initializer, const std::vector<int64_t>& shape, uint64_t seed = 1) {
  std::vector<float> values(100'000);
  FillInitial(initializer, shape, seed, 0, values);
  double sum = 0;
  double squares = 0;
  double largest = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
    largest = std::max(largest, std::abs(v));
  }
  const auto n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(squares / n), largest};
}

TEST(InitializersTest, HaveKerasLimitsAndDeviations) {
  const Moments glorot = Draw(Initializer::kGlorotUniform, {3, 3, 8, 16});
  const double limit = std::sqrt(6.0 / (9 * 8 + 9 * 16));
  EXPECT_LE(glorot.largest, limit);
  EXPECT_GE(glorot.largest, 0.999 * limit);
  EXPECT_NEAR(glorot.deviation, limit / std::sqrt(3), 0.01 * limit);

  const Moments he = Draw(Initializer::kHeNormal, {200, 10});
  EXPECT_NEAR(he.deviation, std::sqrt(2.0 / 200), 0.001);
  EXPECT_LE(he.largest, 2 * std::sqrt(2.0 / 200) / 0.87962566103423978);
  EXPECT_NEAR(he.mean, 0, 0.001);

  EXPECT_NEAR(Draw(Initializer::kFanOutNormal, {3, 3, 32, 1}).deviation, std::sqrt(2.0 / 9), 0.005);
}

TEST(InitializersTest, AreAFunctionOfSeedAndIndexAlone) {
  std::vector<float> a(100);
  std::vector<float> b(100);
  std::vector<float> c(100);
  FillInitial(Initializer::kHeNormal, {10, 10}, 7, 3, a);
  FillInitial(Initializer::kHeNormal, {10, 10}, 7, 3, b);
  FillInitial(Initializer::kHeNormal, {10, 10}, 7, 4, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

}  // namespace
}  // namespace atelier::nn
