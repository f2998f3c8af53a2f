// Backbones against other implementations: Keras' answers in ../shared/goldens, and references
// made by the scripts beside this file. Tolerances are those of ../shared/goldens/README.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "common/nn/backbone.h"
#include "common/nn/predictor.h"
#include "common/nn/scaling.h"
#include "common/nn/tensor_io.h"
#include "tests/golden/golden_files.h"
#include "tests/golden/pattern_weights.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::nn {
namespace {

using ::atelier::testing::TempDir;
using namespace ::atelier::nn::testing;  // NOLINT(google-build-using-namespace): the golden kit

constexpr double kGapTolerance = 2e-4;  // of the largest |gap|
constexpr double kProbsTolerance = 1e-4;

std::shared_ptr<Backbone> BackboneWith(const std::string& id,
                                       const std::map<std::string, at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  auto backbone = MakeBackbone(id).value();
  for (size_t i = 0; i < backbone->graph().variables.size(); ++i) {
    at::Tensor target = backbone->variables()[i];
    target.copy_(tensors.at("backbone/" + backbone->graph().variables[i].name));
  }
  return backbone;
}

at::Tensor Gap(Backbone& backbone, const std::string& id, v1::Scaling scaling,
               const uint8_t* pixels, int64_t size, bool folded = false) {
  const at::NoGradGuard no_grad;
  if (folded) backbone.FoldBatchNorms();
  return backbone.Gap(ScalePixels(pixels, 2, size, size, 3, ScalingOf(id, scaling).value()));
}

double WorstOf(const at::Tensor& ours, const at::Tensor& expected) {
  return (ours.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

// Difference to a reference of data/, relative to the largest feature.
double AgainstReference(const at::Tensor& gap, const nlohmann::json& reference) {
  const auto step = reference.at("step").get<int64_t>();
  double worst = 0;
  for (int64_t n = 0; n < gap.size(0); ++n) {
    const auto row = reference.at("values").at(static_cast<size_t>(n)).get<std::vector<double>>();
    for (size_t i = 0; i < row.size(); ++i) {
      const auto ours = gap[n][static_cast<int64_t>(i) * step].item<double>();
      worst = std::max(worst, std::abs(ours - row[i]));
    }
  }
  return worst / reference.at("largest").get<double>();
}

struct PatternCase {
  std::string id, bn_table, reference, entry;
  v1::Scaling scaling;
  int64_t size;
};

void PrintTo(const PatternCase& test, std::ostream* out) { *out << test.id << " " << test.entry; }

class PatternTest : public ::testing::TestWithParam<PatternCase> {};

TEST_P(PatternTest, AgreesWithAnotherImplementationPlainAndFolded) {
  const PatternCase& test = GetParam();
  const Graph graph = BuildBackboneGraph(test.id).value();
  const auto tensors = PatternTensors(graph, BatchNormTable(ReadGoldenJson(test.bn_table)));
  const nlohmann::json reference = ReadGoldenJson(test.reference).at(test.entry);
  const std::vector<uint8_t> pixels = PatternPictures(test.size);
  for (const bool folded : {false, true}) {
    auto backbone = BackboneWith(test.id, tensors);
    const at::Tensor gap = Gap(*backbone, test.id, test.scaling, pixels.data(), test.size, folded);
    EXPECT_LE(AgainstReference(gap, reference), kGapTolerance) << "folded: " << folded;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Backbones, PatternTest,
    ::testing::Values(PatternCase{"xception", "xception_bn.json", "xception_reference.json",
                                  "auto_75", v1::AUTO, 75},
                      PatternCase{"xception", "xception_bn.json", "xception_reference.json",
                                  "auto_96", v1::AUTO, 96},
                      PatternCase{"xception", "xception_bn.json", "xception_reference.json",
                                  "notebook_96", v1::NOTEBOOK, 96},
                      PatternCase{"efficientnet_lite0", "efficientnet_lite0_bn.json",
                                  "efficientnet_lite0_reference.json", "pattern_75", v1::AUTO, 75},
                      PatternCase{"efficientnet_lite0", "efficientnet_lite0_bn.json",
                                  "efficientnet_lite0_reference.json", "pattern_96", v1::AUTO, 96}),
    [](const auto& instance) { return instance.param.id + "_" + instance.param.entry; });

class XceptionGoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(SharedGoldens() / "xception.notop.h5")) {
      GTEST_SKIP() << "no ../shared/goldens here; PatternTest covers the same backbone";
    }
  }
  std::string Converted(const std::string& name) {
    ConvertGolden(SharedGoldens() / name, dir_.path() / "w.safetensors");
    return ReadFile(dir_.path() / "w.safetensors").value();
  }
  TempDir dir_;
};

TEST_F(XceptionGoldenTest, PooledFeaturesEqualKeras) {
  const auto tensors = LoadTensorsFromSafetensors(Converted("xception.notop.h5")).value();
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  auto backbone = BackboneWith("xception", tensors);
  for (const auto& [array, scaling] :
       {std::pair{"gap_auto", v1::AUTO}, {"gap_notebook", v1::NOTEBOOK}}) {
    const at::Tensor expected = ReadNpz(SharedGoldens() / "xception.expected.npz", array);
    const at::Tensor gap = Gap(*backbone, "xception", scaling, input.data_ptr<uint8_t>(), 200);
    const double worst = WorstOf(gap, expected) / expected.abs().max().item<double>();
    std::cout << array << ": " << worst << " of the largest feature\n";
    EXPECT_LE(worst, kGapTolerance) << array;
  }
}

TEST_F(XceptionGoldenTest, ProbabilitiesOfTheWholeModelEqualKeras) {
  const std::string weights = Converted("xception.full.weights.h5");
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  v1::ModelSpec spec;
  spec.set_backbone("xception");
  spec.mutable_head()->set_hidden_units(512);
  spec.mutable_head()->set_dropout(0.5);
  spec.mutable_image()->set_size(200);
  spec.set_classes(7);
  for (const auto& [array, scaling] :
       {std::pair{"probs_auto", v1::AUTO}, {"probs_notebook", v1::NOTEBOOK}}) {
    spec.set_scaling(scaling);
    ASSERT_OK_AND_ASSIGN(const auto predictor, Predictor::Create(spec, weights));
    const std::string_view pixels(static_cast<const char*>(input.data_ptr()), input.nbytes());
    ASSERT_OK_AND_ASSIGN(const v1::Matrix probs, predictor->Predict(pixels, 2));
    const at::Tensor ours =
        at::from_blob(const_cast<char*>(probs.data().data()), {2, 7}, at::kFloat);
    const double worst = WorstOf(ours, ReadNpz(SharedGoldens() / "xception.expected.npz", array));
    std::cout << array << ": " << worst << "\n";
    EXPECT_LE(worst, kProbsTolerance) << array;
  }
}

// On a failure of the test above: which layer differs first.
TEST_F(XceptionGoldenTest, EveryLayersMeanAndDeviationEqualKeras) {
  const auto tensors = LoadTensorsFromSafetensors(Converted("xception.notop.h5")).value();
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  const auto layers =
      nlohmann::json::parse(ReadFile(SharedGoldens() / "xception.layers.json").value());
  auto backbone = BackboneWith("xception", tensors);
  int seen = 0;
  const LayerTap tap = [&](const std::string& layer, const at::Tensor& output) {
    if (!layers["layers"].contains(layer)) return;  // unnamed in Keras: its counter differs
    const auto expected = layers["layers"][layer].get<std::vector<double>>();
    const at::Tensor y = output.to(at::kDouble);
    EXPECT_NEAR(y.mean().item<double>(), expected[0], 1e-3 * expected[1]) << layer;
    EXPECT_NEAR(y.std(/*unbiased=*/false).item<double>(), expected[1], 1e-3 * expected[1]) << layer;
    ++seen;
  };
  const at::NoGradGuard no_grad;
  backbone->Gap(ScalePixels(input.data_ptr<uint8_t>(), 2, 200, 200, 3,
                            ScalingOf("xception", v1::AUTO).value()),
                {.tap = &tap});
  EXPECT_GT(seen, 100);
}

TEST(EfficientNetLiteGoldenTest, RealWeightsAgreeWithTorchHubsImplementation) {
  const std::filesystem::path weights = WeightsCache() / "efficientnet_lite0.safetensors";
  if (!std::filesystem::exists(weights)) {
    GTEST_SKIP()
        << "run `atelier weights fetch efficientnet_lite0`; PatternTest covers the network";
  }
  const auto tensors = LoadTensorsFromSafetensors(ReadFile(weights).value()).value();
  const nlohmann::json references = ReadGoldenJson("efficientnet_lite0_reference.json");
  for (const int64_t size : {75, 96}) {
    auto backbone = BackboneWith("efficientnet_lite0", tensors);
    const at::Tensor gap =
        Gap(*backbone, "efficientnet_lite0", v1::AUTO, PatternPictures(size).data(), size);
    EXPECT_LE(AgainstReference(gap, references.at("imagenet_" + std::to_string(size))),
              kGapTolerance);
  }
}

}  // namespace
}  // namespace atelier::nn
