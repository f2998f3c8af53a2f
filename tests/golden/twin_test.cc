// Every backbone against Keras with weights and pictures by formula, so that it runs everywhere
// (data/NAME_twin.json, made by make_keras_twins.py): odd and even sizes, one picture and eight,
// both preprocessings, grey pictures, pooled features and probabilities; in float64, where rounding
// hides nothing, and in float32, plain and folded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/nn/catalog.h"
#include "common/nn/member_model.h"
#include "common/nn/scaling.h"
#include "tests/golden/pattern_weights.h"
#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

using namespace ::atelier::nn::testing;  // NOLINT(google-build-using-namespace): the golden kit

// Those of ../shared/goldens/README.md.
constexpr double kGapTolerance = 2e-4;  // of the largest |gap|
constexpr double kProbsTolerance = 1e-4;
constexpr double kFloat64Tolerance = 1e-8;  // the references have nine digits
constexpr int64_t kFloat64Size = 75;        // one size: LibTorch's depthwise in float64 is slow
constexpr int kHiddenUnits = 512;
constexpr int kClasses = 7;

struct Case {
  int64_t size, pictures, channels;
  v1::Scaling scaling;
};

Case CaseOf(const nlohmann::json& entry) {
  return {entry.at("size").get<int64_t>(), entry.at("pictures").get<int64_t>(),
          entry.at("channels").get<int64_t>(),
          entry.at("scaling") == "notebook" ? v1::NOTEBOOK : v1::AUTO};
}

std::shared_ptr<MemberModel> ModelFor(const std::string& id, const Case& test,
                                      const std::map<std::string, at::Tensor>& tensors) {
  v1::ModelSpec spec;
  spec.set_backbone(id);
  spec.set_classes(kClasses);
  spec.set_scaling(test.scaling);
  spec.mutable_head()->set_hidden_units(kHiddenUnits);
  spec.mutable_image()->set_size(static_cast<int>(test.size));
  spec.mutable_image()->set_channels(static_cast<int>(test.channels));
  auto model = MemberModel::CreateUninitialized(spec).value();
  EXPECT_THAT(model->LoadTensors(tensors), ::atelier::testing::IsOk());
  return model;
}

at::Tensor InputOf(const std::string& id, const Case& test) {
  std::vector<uint8_t> pixels = PatternPictures(test.size, test.pictures);
  if (test.channels == 1) {  // red alone
    for (size_t i = 0; i < pixels.size() / 3; ++i) pixels[i] = pixels[3 * i];
  }
  return ScalePixels(pixels.data(), test.pictures, test.size, test.size, test.channels,
                     ScalingOf(id, test.scaling).value());
}

double Worst(const at::Tensor& ours, const nlohmann::json& rows, int64_t step) {
  double worst = 0;
  EXPECT_EQ(ours.size(0), static_cast<int64_t>(rows.size()));
  for (int64_t n = 0; n < ours.size(0); ++n) {
    const auto row = rows.at(static_cast<size_t>(n)).get<std::vector<double>>();
    for (size_t i = 0; i < row.size(); ++i) {
      const auto value = ours[n][static_cast<int64_t>(i) * step].item<double>();
      worst = std::max(worst, std::abs(value - row[i]));
    }
  }
  return worst;
}

class TwinTest : public ::testing::TestWithParam<std::string> {};

struct Distance {
  double gap = 0;  // of the largest |gap|
  double probs = 0;
};

Distance Compare(MemberModel& model, const at::Tensor& x, const nlohmann::json& entry) {
  const ForwardOptions options = {.auto_scaling = model.spec().scaling() != v1::NOTEBOOK};
  return {.gap = Worst(model.backbone().Gap(x, options), entry.at("values"),
                       entry.at("step").get<int64_t>()) /
                 entry.at("largest").get<double>(),
          .probs = Worst(at::softmax(model.Logits(x), 1), entry.at("probs"), 1)};
}

void ExpectWithin(const Distance& distance, double gap, double probs, const char* what) {
  EXPECT_LE(distance.gap, gap) << what;
  EXPECT_LE(distance.probs, probs) << what;
  std::cout << "  " << what << ": gap " << distance.gap << " of the largest, probs "
            << distance.probs << "\n";
}

TEST_P(TwinTest, AgreesWithKerasInFloat64AndFloat32PlainAndFolded) {
  const at::NoGradGuard no_grad;
  const nlohmann::json twin = ReadGoldenJson(GetParam() + "_twin.json");
  const Graph graph = BuildBackboneGraph(GetParam()).value();
  ASSERT_TRUE(twin.contains(absl::StrCat("auto_", kFloat64Size, "_3x1")));
  std::set<std::pair<int64_t, bool>> seen;  // pictures, odd size
  for (const auto& [name, entry] : twin.items()) {
    SCOPED_TRACE(name);
    std::cout << GetParam() << " " << name << "\n";
    const Case test = CaseOf(entry);
    seen.insert({test.pictures, test.size % 2 == 1});
    const auto tensors =
        PatternTensors(graph, BatchNormTable(entry.at("batch_norms")), {kHiddenUnits, kClasses});
    const at::Tensor x = InputOf(GetParam(), test);
    if (test.size == kFloat64Size) {
      const auto wide = ModelFor(GetParam(), test, tensors);
      wide->to(at::kDouble);
      ExpectWithin(Compare(*wide, x.to(at::kDouble), entry), kFloat64Tolerance, kFloat64Tolerance,
                   "float64");
    }
    const auto model = ModelFor(GetParam(), test, tensors);
    ExpectWithin(Compare(*model, x, entry), kGapTolerance, kProbsTolerance, "float32");
    model->backbone().FoldBatchNorms();
    ExpectWithin(Compare(*model, x, entry), kGapTolerance, kProbsTolerance, "float32 folded");
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(std::pair{1L, false}, std::pair{1L, true},
                                                    std::pair{8L, false}, std::pair{8L, true}));
}

std::vector<std::string> PublishedBackbones() {
  std::vector<std::string> ids;
  for (const BackboneInfo& info : Backbones()) {
    if (info.has_imagenet_weights) ids.push_back(info.id);
  }
  return ids;
}

// A catalogue entry without its twin fails: the file is not there.
INSTANTIATE_TEST_SUITE_P(Backbones, TwinTest, ::testing::ValuesIn(PublishedBackbones()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace atelier::nn
