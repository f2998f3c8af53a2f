// Backbones against other implementations: Keras' answers in ../shared/goldens, and references
// made by the scripts beside this file. Tolerances are those of ../shared/goldens/README.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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

std::shared_ptr<Backbone> BackboneWith(const Graph& graph,
                                       const std::map<std::string, at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  auto backbone = std::make_shared<Backbone>(graph);
  for (size_t i = 0; i < backbone->graph().variables.size(); ++i) {
    at::Tensor target = backbone->variables()[i];
    target.copy_(tensors.at("backbone/" + backbone->graph().variables[i].name));
  }
  return backbone;
}
std::shared_ptr<Backbone> BackboneWith(const std::string& id,
                                       const std::map<std::string, at::Tensor>& tensors) {
  return BackboneWith(BuildBackboneGraph(id).value(), tensors);
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

// The sets of ../shared/goldens, each made by Keras from the pattern weights.
class KerasGoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(Golden(".notop.h5"))) {
      GTEST_SKIP() << "no ../shared/goldens here; PatternTest covers the same backbones";
    }
  }
  std::filesystem::path Golden(const std::string& suffix) const {
    return SharedGoldens() / (GetParam() + suffix);
  }
  std::string Converted(const std::string& suffix) {
    ConvertGolden(Golden(suffix), dir_.path() / "w.safetensors");
    return ReadFile(dir_.path() / "w.safetensors").value();
  }
  TempDir dir_;
};

TEST_P(KerasGoldenTest, VariablesAreKerasInOrderAndShape) {
  const auto expected = nlohmann::json::parse(ReadFile(Golden(".variables.json")).value());
  const Graph graph = BuildBackboneGraph(GetParam()).value();
  ASSERT_EQ(graph.variables.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto leaf = [](const std::string& name) { return name.substr(name.rfind('/') + 1); };
    ASSERT_EQ(leaf(graph.variables[i].name), leaf(expected[i][0].get<std::string>())) << i;
    ASSERT_EQ(KerasShape(graph.variables[i]), expected[i][1].get<std::vector<int64_t>>())
        << graph.variables[i].name << " " << i;
  }
}

TEST_P(KerasGoldenTest, PooledFeaturesEqualKeras) {
  const auto tensors = LoadTensorsFromSafetensors(Converted(".notop.h5")).value();
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  auto backbone = BackboneWith(GetParam(), tensors);
  for (const auto& [array, scaling] :
       {std::pair{"gap_auto", v1::AUTO}, {"gap_notebook", v1::NOTEBOOK}}) {
    const at::Tensor expected = ReadNpz(Golden(".expected.npz"), array);
    const at::Tensor gap = Gap(*backbone, GetParam(), scaling, input.data_ptr<uint8_t>(), 200);
    const double worst = WorstOf(gap, expected) / expected.abs().max().item<double>();
    std::cout << array << ": " << worst << " of the largest feature\n";
    EXPECT_LE(worst, kGapTolerance) << array;
  }
}

TEST_P(KerasGoldenTest, ProbabilitiesOfTheWholeModelEqualKeras) {
  const std::string weights = Converted(".full.weights.h5");
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  v1::ModelSpec spec;
  spec.set_backbone(GetParam());
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
    const double worst = WorstOf(ours, ReadNpz(Golden(".expected.npz"), array));
    std::cout << array << ": " << worst << "\n";
    EXPECT_LE(worst, kProbsTolerance) << array;
  }
}

// The layer's name in another session of Keras: numbers that Keras counts up begin elsewhere.
std::string FreshName(const std::string& name, const std::map<std::string, int>& first) {
  const size_t cut = name.rfind('_');
  const std::string stem = name.substr(0, cut);
  for (const auto& [counted, offset] : first) {
    if (name == counted) return absl::StrCat(counted, offset == 0 ? "" : absl::StrCat("_", offset));
    if (stem == counted) return absl::StrCat(stem, "_", std::stoi(name.substr(cut + 1)) + offset);
  }
  return name;
}

// Where the counters of the session that made a golden stood.
std::map<std::string, int> FirstNumbers(const nlohmann::json& layers) {
  std::map<std::string, int> first;
  for (const char* counted :
       {"conv2d", "batch_normalization", "activation", "max_pooling2d", "average_pooling2d",
        "custom_scale_layer", "concatenate", "add", "rescaling", "normalization"}) {
    int lowest = std::numeric_limits<int>::max();
    for (const auto& [name, unused] : layers.items()) {
      if (name == counted) lowest = 0;
      const std::string prefix = absl::StrCat(counted, "_");
      int number = 0;
      if (name.starts_with(prefix) && absl::SimpleAtoi(name.substr(prefix.size()), &number)) {
        lowest = std::min(lowest, number);
      }
    }
    if (lowest != std::numeric_limits<int>::max()) first[counted] = lowest;
  }
  return first;
}

struct LayerComparison {
  size_t seen = 0;
  std::string first_wrong;  // empty: none
};

// Each layer's mean and deviation against the golden's.
LayerComparison CompareLayers(Backbone& backbone, const std::string& id,
                              const nlohmann::json& layers) {
  const at::Tensor input = ReadNpy(SharedGoldens() / "input.npy");
  const std::map<std::string, int> first = FirstNumbers(layers);
  LayerComparison result;
  const LayerTap tap = [&](const std::string& layer, const at::Tensor& output) {
    const std::string name = FreshName(layer, first);
    if (!layers.contains(name) || !result.first_wrong.empty()) return;
    const auto expected = layers[name].get<std::vector<double>>();
    const at::Tensor y = output.to(at::kDouble);
    const double tolerance = 1e-3 * expected[1] + 1e-6;
    if (std::abs(y.mean().item<double>() - expected[0]) > tolerance ||
        std::abs(y.std(/*unbiased=*/false).item<double>() - expected[1]) > tolerance) {
      result.first_wrong = layer;
    }
    ++result.seen;
  };
  const at::NoGradGuard no_grad;
  backbone.Gap(
      ScalePixels(input.data_ptr<uint8_t>(), 2, 200, 200, 3, ScalingOf(id, v1::AUTO).value()),
      {.tap = &tap});
  return result;
}

// When a test above fails this one names the layer that differs first.
TEST_P(KerasGoldenTest, EveryLayersMeanAndDeviationEqualKeras) {
  const auto tensors = LoadTensorsFromSafetensors(Converted(".notop.h5")).value();
  const nlohmann::json layers =
      nlohmann::json::parse(ReadFile(Golden(".layers.json")).value()).at("layers");
  const LayerComparison result =
      CompareLayers(*BackboneWith(GetParam(), tensors), GetParam(), layers);
  EXPECT_EQ(result.first_wrong, "") << "the first layer that differs";
  EXPECT_GE(result.seen,
            layers.size() * 9 / 10);  // Keras' own padding and reshape layers are not ours
}

// One layer is broken: the comparison names that one and not a later one.
TEST_P(KerasGoldenTest, ABrokenLayerIsNamed) {
  const auto tensors = LoadTensorsFromSafetensors(Converted(".notop.h5")).value();
  const nlohmann::json layers =
      nlohmann::json::parse(ReadFile(Golden(".layers.json")).value()).at("layers");
  // Breaks the first node from `begin` on that `broken` changes; true when there is one.
  const auto is_named = [&](size_t begin, const auto& broken) {
    Graph graph = BuildBackboneGraph(GetParam()).value();
    for (size_t i = begin; i < graph.nodes.size(); ++i) {
      if (!broken(graph.nodes[i])) continue;
      EXPECT_EQ(CompareLayers(*BackboneWith(graph, tensors), GetParam(), layers).first_wrong,
                graph.nodes[i].name);
      return true;
    }
    return false;
  };
  const size_t middle = BuildBackboneGraph(GetParam()).value().nodes.size() / 2;
  EXPECT_TRUE(is_named(middle, [](Node& node) {
    if (node.op == Op::kBatchNorm) node.epsilon += 0.05;
    return node.op == Op::kBatchNorm;
  }));
  // PyTorch's padding in the place of TensorFlow's; only EfficientNets have it where it matters.
  const bool padded = is_named(0, [](Node& node) {
    if (node.stride != 2 || node.kernel[0] != 3 || node.padding != Padding::kSame) return false;
    if (node.op != Op::kConv && node.op != Op::kDepthwiseConv) return false;
    node.padding = Padding::kHalf;
    return true;
  });
  EXPECT_EQ(padded, GetParam().starts_with("efficientnet"));
}

INSTANTIATE_TEST_SUITE_P(Backbones, KerasGoldenTest,
                         ::testing::Values("xception", "inception_v3", "inception_resnet_v2",
                                           "densenet201", "efficientnet_b0", "efficientnet_b4",
                                           "efficientnet_b5"),
                         [](const auto& instance) { return instance.param; });

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
