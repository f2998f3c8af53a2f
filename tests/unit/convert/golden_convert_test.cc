// The files in ../shared/goldens, against the formula in their README.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "nlohmann/json.hpp"
#include "services/cli/convert/permute.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/convert_files.h"

namespace atelier::convert {
namespace {

namespace fs = std::filesystem;

// Least and largest |difference| allowed: the files are float32 of a formula in float32.
constexpr double kTolerance = 1e-6;

fs::path Goldens() {
  const char* root = std::getenv("ATELIER_SOURCE_DIR");
  return fs::path(root == nullptr ? "." : root) / ".." / "shared" / "goldens";
}

class GoldenConvertTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(Goldens() / "xception.notop.h5")) {
      GTEST_SKIP() << "no ../shared/goldens here; KerasTest covers the same readers";
    }
  }
  absl::StatusOr<Converted> ConvertGolden(const std::string& name) {
    const fs::path copy = dir_.path() / name;
    fs::copy_file(Goldens() / name, copy);
    return ConvertFile(copy);
  }
  testing::TempDir dir_;
};

// p of variable number i, element e in Keras' C order.
struct Formula {
  std::vector<double> base;  // 4093
  double P(size_t i, size_t e) const { return base[(e + i * 977) % 4093]; }
};

// Recovers the 4093 numbers from a large kernel of variable `i`, in Keras' layout.
Formula Recover(const std::vector<float>& keras_values, size_t i, double scale) {
  Formula formula;
  formula.base.resize(4093);
  for (size_t e = 0; e < 4093; ++e) {
    formula.base[(e + i * 977) % 4093] = static_cast<double>(keras_values[e]) / scale;
  }
  return formula;
}

std::vector<float> InKerasOrder(const std::vector<float>& values, const nn::Variable& v) {
  std::vector<int> back;
  if (v.kind == nn::VariableKind::kKernel) back = {2, 3, 1, 0};
  if (v.kind == nn::VariableKind::kDepthwiseKernel) back = {2, 3, 0, 1};
  if (back.empty()) return values;
  const std::string bytes = PermuteFloat32(
      {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}, v.shape, back);
  std::vector<float> out(values.size());
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

double KernelScale(const nn::Variable& v) {
  const std::vector<int64_t> s = nn::KerasShape(v);
  const bool depthwise = v.kind == nn::VariableKind::kDepthwiseKernel;
  return std::sqrt(6.0 / static_cast<double>(s[0] * s[1] * (depthwise ? 1 : s[2])));
}

double Expected(const nn::Variable& v, double p, double mean, double variance) {
  switch (v.kind) {
    case nn::VariableKind::kGamma:
      return 1 + 0.3 * p;
    case nn::VariableKind::kBeta:
    case nn::VariableKind::kBias:
      return 0.1 * p;
    case nn::VariableKind::kMovingMean:
      return mean + 0.1 * std::sqrt(variance) * p;
    case nn::VariableKind::kMovingVariance:
      return variance * (1 + 0.4 * p);
    default:
      return p * KernelScale(v);
  }
}

void ExpectFormula(const Converted& converted) {
  const nn::Graph graph = *nn::BuildBackboneGraph("xception");
  const auto bn = nlohmann::json::parse(*ReadFile(Goldens() / "xception.bn.json"));
  const auto order = nlohmann::json::parse(*ReadFile(Goldens() / "xception.variables.json"));
  ASSERT_EQ(order.size(), graph.variables.size());
  // Variable 5 is block1_conv2/kernel, 18,432 numbers: it fixes the base, the rest must follow.
  const nn::Variable& source = graph.variables[5];
  const Formula formula =
      Recover(InKerasOrder(converted.tensors.at("backbone/" + source.name), source), 5,
              KernelScale(source));
  for (const double b : formula.base) ASSERT_LT(std::abs(b), 1.0 + 1e-6);
  for (size_t i = 0; i < graph.variables.size(); ++i) {
    const nn::Variable& v = graph.variables[i];
    EXPECT_EQ(nn::KerasShape(v), order[i][1].get<std::vector<int64_t>>()) << v.name;
    const std::string layer = v.name.substr(0, v.name.rfind('/'));
    const double mean = bn.contains(layer) ? bn[layer][0].get<double>() : 0;
    const double variance = bn.contains(layer) ? bn[layer][1].get<double>() : 0;
    const std::vector<float> values = InKerasOrder(converted.tensors.at("backbone/" + v.name), v);
    double worst = 0;
    for (size_t e = 0; e < values.size(); ++e) {
      const double expected = Expected(v, formula.P(i, e), mean, variance);
      worst = std::max(worst, std::abs(static_cast<double>(values[e]) - expected) /
                                  std::max(1.0, std::abs(expected)));
    }
    EXPECT_LT(worst, kTolerance) << v.name;
  }
}

TEST_F(GoldenConvertTest, NotopEqualsTheFormula) {
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertGolden("xception.notop.h5"));
  EXPECT_EQ(converted.report.mapping.backbone, "xception");
  EXPECT_FALSE(converted.report.mapping.has_head);
  ExpectFormula(converted);
}

TEST_F(GoldenConvertTest, FullModelEqualsTheFormulaWithItsHead) {
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertGolden("xception.full.weights.h5"));
  EXPECT_TRUE(converted.report.mapping.has_head);
  EXPECT_EQ(converted.shapes.at("head/dense/kernel"), (std::vector<int64_t>{512, 2048}));
  EXPECT_EQ(converted.shapes.at("head/predictions/kernel"), (std::vector<int64_t>{7, 512}));
  ExpectFormula(converted);
}

TEST_F(GoldenConvertTest, OtherArchitecturesAreNoXception) {
  for (const char* name : {"densenet201.notop.h5", "efficientnet_b0.full.weights.h5"}) {
    const fs::path copy = dir_.path() / name;
    fs::copy_file(Goldens() / name, copy);
    EXPECT_THAT(ConvertFile(copy, "xception"),
                testing::StatusIs(absl::StatusCode::kFailedPrecondition))
        << name;
  }
}

}  // namespace
}  // namespace atelier::convert
