// The files in ../shared/goldens, against the formula in their README.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "services/cli/convert/permute.h"
#include "services/cli/convert/source.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/convert_files.h"
#include "tests/unit/convert/writers.h"

namespace atelier::convert {
namespace {

namespace fs = std::filesystem;

// Least and largest |difference| allowed: the files are float32 of a formula in float32.
constexpr double kTolerance = 1e-6;

fs::path Goldens() {
  const char* root = std::getenv("ATELIER_SOURCE_DIR");
  return fs::path(root == nullptr ? "." : root) / ".." / "shared" / "goldens";
}

class GoldenConvertTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!fs::exists(Goldens() / (GetParam() + ".notop.h5"))) {
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
    case nn::VariableKind::kMean:
      return 0.1 * p;
    case nn::VariableKind::kVariance:
      return 1 + 0.4 * p;
    case nn::VariableKind::kCount:
      return 0;
    case nn::VariableKind::kKernel:
    case nn::VariableKind::kDepthwiseKernel:
      break;
  }
  return p * KernelScale(v);
}

// The first kernel that holds the base whole.
size_t FirstLargeKernel(const nn::Graph& graph) {
  for (size_t i = 0;; ++i) {
    const nn::Variable& v = graph.variables.at(i);
    const auto elements = *CheckedElements(v.shape);
    if (v.kind == nn::VariableKind::kKernel && elements >= 4093) return i;
  }
}

void ExpectFormula(const Converted& converted, const std::string& id) {
  const nn::Graph graph = *nn::BuildBackboneGraph(id);
  const auto bn = nlohmann::json::parse(*ReadFile(Goldens() / (id + ".bn.json")));
  const auto order = nlohmann::json::parse(*ReadFile(Goldens() / (id + ".variables.json")));
  ASSERT_EQ(order.size(), graph.variables.size());
  // One kernel fixes the base, the rest must follow.
  const size_t large = FirstLargeKernel(graph);
  const nn::Variable& source = graph.variables[large];
  const Formula formula =
      Recover(InKerasOrder(converted.tensors.at("backbone/" + source.name), source), large,
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

TEST_P(GoldenConvertTest, NotopEqualsTheFormula) {
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertGolden(GetParam() + ".notop.h5"));
  EXPECT_EQ(converted.report.mapping.backbone, GetParam());
  EXPECT_FALSE(converted.report.mapping.has_head);
  EXPECT_TRUE(converted.report.mapping.left_out.empty());
  ExpectFormula(converted, GetParam());
}

TEST_P(GoldenConvertTest, FullModelEqualsTheFormulaWithItsHead) {
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertGolden(GetParam() + ".full.weights.h5"));
  EXPECT_EQ(converted.report.mapping.backbone, GetParam());
  EXPECT_TRUE(converted.report.mapping.has_head);
  const int64_t features = nn::BuildBackboneGraph(GetParam())->features();
  EXPECT_EQ(converted.shapes.at("head/dense/kernel"), (std::vector<int64_t>{512, features}));
  EXPECT_EQ(converted.shapes.at("head/predictions/kernel"), (std::vector<int64_t>{7, 512}));
  ExpectFormula(converted, GetParam());
}

// The golden as another session and an older Keras would have written it: every layer counts from
// elsewhere, weights are called "…_W_1:0".
std::vector<Layer> Renamed(const Source& source) {
  std::vector<Layer> layers;
  for (const SourceLayer& layer : source.containers.front().layers) {
    Layer out{absl::StrCat("layer_", 100 + 7 * layers.size()), "", {}};
    for (const SourceTensor& tensor : layer.tensors) {
      const TensorBytes bytes = *tensor.read();
      std::vector<float> values(bytes.bytes().size() / sizeof(float));
      std::memcpy(values.data(), bytes.bytes().data(), bytes.bytes().size());
      out.weights.push_back(
          {absl::StrCat(out.name, "_W_", out.weights.size() + 1), tensor.shape, std::move(values)});
    }
    layers.push_back(std::move(out));
  }
  return layers;
}

TEST_P(GoldenConvertTest, NamesDoNotMatter) {
  ASSERT_OK_AND_ASSIGN(const Converted golden, ConvertGolden(GetParam() + ".notop.h5"));
  ASSERT_OK_AND_ASSIGN(const auto file, OpenInput(dir_.path() / (GetParam() + ".notop.h5"), ""));
  ASSERT_OK_AND_ASSIGN(const Source source, ReadSource(file));
  const fs::path path = dir_.path() / "renamed.h5";
  WriteLegacyH5(path, Renamed(source));
  ASSERT_OK_AND_ASSIGN(const Converted renamed, ConvertFile(path));
  EXPECT_EQ(renamed.report.mapping.backbone, GetParam());
  EXPECT_EQ(renamed.shapes, golden.shapes);
  EXPECT_TRUE(renamed.tensors == golden.tensors);  // EXPECT_EQ would print millions of numbers
}

TEST_P(GoldenConvertTest, OtherArchitecturesAreRefused) {
  const std::string other = GetParam() == "xception" ? "densenet201" : "xception";
  for (const char* suffix : {".notop.h5", ".full.weights.h5"}) {
    const fs::path copy = dir_.path() / "copy.h5";
    fs::copy_file(Goldens() / (GetParam() + suffix), copy, fs::copy_options::overwrite_existing);
    EXPECT_THAT(ConvertFile(copy, other), testing::StatusIs(absl::StatusCode::kFailedPrecondition,
                                                            ::testing::HasSubstr("layer ")))
        << suffix;
  }
}

INSTANTIATE_TEST_SUITE_P(Backbones, GoldenConvertTest,
                         ::testing::Values("xception", "inception_v3", "inception_resnet_v2",
                                           "densenet201", "efficientnet_b0", "efficientnet_b4",
                                           "efficientnet_b5"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace atelier::convert
