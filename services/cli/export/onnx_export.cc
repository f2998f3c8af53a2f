#include "services/cli/export/onnx_export.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/nn/shapes.h"
#include "onnx/onnx_pb.h"
#include "services/cli/export/onnx_graph.h"

namespace atelier::exporting {
namespace {

using nn::Activation;
using nn::Op;

constexpr int kIrVersion = 7;
constexpr int kOpset = 13;
constexpr int64_t kMaxSide = 4096;
constexpr float kNormalizationEpsilon = 1e-7F;  // keras.config.epsilon

std::vector<float> Floats(const nn::TensorView& view) {
  std::vector<float> values(view.bytes.size() / sizeof(float));
  std::memcpy(values.data(), view.bytes.data(), values.size() * sizeof(float));
  return values;
}

// A batch norm that disappears in the convolution before it, as y = scale * x + shift.
struct Affine {
  std::vector<double> scale, shift;
};

class Exporter {
 public:
  Exporter(const WeightsFile& weights, const OnnxOptions& options, onnx::GraphProto* graph)
      : weights_(weights),
        options_(options),
        shapes_(nn::LayerShapes(weights.graph, options.height, options.width)),
        out_(graph) {}

  void Run() {
    const std::vector<nn::Node>& nodes = weights_.graph.nodes;
    values_.resize(nodes.size());
    values_[0] = Input();
    if (options_.fold) FindFolds();
    for (size_t i = 1; i < nodes.size(); ++i) values_[i] = Emit(i);
    Outputs();
  }

 private:
  size_t InputOf(size_t node, size_t i = 0) const {
    return static_cast<size_t>(weights_.graph.nodes[node].inputs[i]);
  }
  const nn::Variable& Variable(const nn::Node& node, size_t i) const {
    return weights_.graph.variables[static_cast<size_t>(node.variables[i])];
  }
  // The i-th variable of a node as an initializer of its own name.
  std::string Weight(const nn::Node& node, size_t i) {
    const nn::Variable& variable = Variable(node, i);
    return out_.Tensor("backbone/" + variable.name, variable.shape, weights_.Of(variable).bytes);
  }

  std::string Input() {
    const int64_t channels = weights_.channels;
    std::vector<int64_t> shape = {options_.batch, channels, options_.height, options_.width};
    if (options_.nhwc) shape = {options_.batch, options_.height, options_.width, channels};
    std::string x = options_.with_preprocessing ? "pixels" : "input";
    out_.Input(x, options_.with_preprocessing ? onnx::TensorProto::UINT8 : onnx::TensorProto::FLOAT,
               shape);
    if (options_.with_preprocessing) {
      onnx::NodeProto* const cast = out_.Node("Cast", "preprocessing/cast", {x});
      SetInt(cast, "to", onnx::TensorProto::FLOAT);
      x = cast->output(0);
    }
    if (options_.nhwc) {
      onnx::NodeProto* const transpose = out_.Node("Transpose", "nhwc_to_nchw", {x});
      SetInts(transpose, "perm", {0, 3, 1, 2});
      x = transpose->output(0);
    }
    return options_.with_preprocessing ? Preprocess(x) : x;
  }

  std::string Preprocess(const std::string& x) {
    const auto& how = options_.preprocessing;
    std::vector<float> mean(how.mean.begin(), how.mean.end());
    std::vector<float> divisor(how.divisor.begin(), how.divisor.end());
    if (weights_.channels == 1) {  // as nn::ScalePixels for grey pictures
      mean.assign(1, (mean[0] + mean[1] + mean[2]) / 3);
      divisor.assign(1, (divisor[0] + divisor[1] + divisor[2]) / 3);
    }
    const std::vector<int64_t> shape = {1, weights_.channels, 1, 1};
    const std::string centred =
        out_.Apply("Sub", "preprocessing/sub", {x, out_.Tensor("preprocessing/mean", shape, mean)});
    return out_.Apply("Div", "preprocessing/div",
                      {centred, out_.Tensor("preprocessing/divisor", shape, divisor)});
  }

  // Batch norms whose convolution nobody else reads.
  void FindFolds() {
    const std::vector<nn::Node>& nodes = weights_.graph.nodes;
    std::vector<int> uses(nodes.size(), 0);
    for (const nn::Node& node : nodes) {
      for (const int input : node.inputs) ++uses[static_cast<size_t>(input)];
    }
    for (size_t i = 1; i < nodes.size(); ++i) {
      if (nodes[i].op != Op::kBatchNorm) continue;
      const size_t before = InputOf(i);
      const Op op = nodes[before].op;
      if ((op == Op::kConv || op == Op::kDepthwiseConv) && uses[before] == 1 &&
          nodes[before].activation == Activation::kNone) {
        folds_[before] = AffineOf(nodes[i]);
        folded_.push_back(i);
      }
    }
  }

  Affine AffineOf(const nn::Node& node) const {
    const size_t beta = nn::HasGamma(node) ? 1 : 0;
    const std::vector<float> b = Floats(weights_.Of(Variable(node, beta)));
    const std::vector<float> mean = Floats(weights_.Of(Variable(node, beta + 1)));
    const std::vector<float> variance = Floats(weights_.Of(Variable(node, beta + 2)));
    const std::vector<float> gamma = nn::HasGamma(node) ? Floats(weights_.Of(Variable(node, 0)))
                                                        : std::vector<float>(b.size(), 1.0F);
    Affine out;
    for (size_t c = 0; c < b.size(); ++c) {
      const double scale = static_cast<double>(gamma[c]) /
                           std::sqrt(static_cast<double>(variance[c]) + node.epsilon);
      out.scale.push_back(scale);
      out.shift.push_back(static_cast<double>(b[c]) - static_cast<double>(mean[c]) * scale);
    }
    return out;
  }

  std::string Emit(size_t i) {
    const nn::Node& node = weights_.graph.nodes[i];
    const std::string& x = values_[InputOf(i)];
    switch (node.op) {
      case Op::kInput:
      case Op::kDropout:  // nothing at inference
        return x;
      case Op::kConv:
      case Op::kDepthwiseConv:
        return Convolve(i, x);
      case Op::kBatchNorm:
        return IsFolded(i) ? x : Normalize(node, x);
      case Op::kActivation:
        return Activate(node.name, x, node.activation);
      case Op::kAdd: {
        std::string y = values_[InputOf(i, 1)];
        if (node.scale != 1) {
          y = out_.Apply("Mul", node.name + "/scaled",
                         {y, out_.Scalar(static_cast<float>(node.scale))});
        }
        return out_.Apply("Add", node.name, {x, y});
      }
      case Op::kMultiply:
        return out_.Apply("Mul", node.name, {x, values_[InputOf(i, 1)]});
      case Op::kConcat: {
        std::vector<std::string> parts;
        for (size_t k = 0; k < node.inputs.size(); ++k) parts.push_back(values_[InputOf(i, k)]);
        onnx::NodeProto* const concat = out_.Node("Concat", node.name, parts);
        SetInt(concat, "axis", 1);
        return concat->output(0);
      }
      case Op::kMaxPool:
        return Window(out_.Node("MaxPool", node.name, {x}), i);
      case Op::kAveragePool:  // padding does not count, which is ONNX' default
        return Window(out_.Node("AveragePool", node.name, {x}), i);
      case Op::kGlobalAverage:
        return out_.Apply("GlobalAveragePool", node.name, {x});
      case Op::kRescale:
        return out_.Apply("Mul", node.name, {x, out_.Scalar(static_cast<float>(node.scale))});
      case Op::kNormalize:
        return Standardize(node, x);
    }
    return x;
  }

  bool IsFolded(size_t i) const {
    return std::find(folded_.begin(), folded_.end(), i) != folded_.end();
  }

  std::string Window(onnx::NodeProto* out, size_t i) {
    const nn::Node& node = weights_.graph.nodes[i];
    const nn::LayerShape& x = shapes_[InputOf(i)];
    const auto h = nn::PaddingOf(x.height, node.kernel[0], node.stride, node.padding);
    const auto w = nn::PaddingOf(x.width, node.kernel[1], node.stride, node.padding);
    SetInts(out, "kernel_shape", {node.kernel[0], node.kernel[1]});
    SetInts(out, "strides", {node.stride, node.stride});
    SetInts(out, "pads", {h.before, w.before, h.after, w.after});
    return out->output(0);
  }

  std::string Convolve(size_t i, const std::string& x) {
    const nn::Node& node = weights_.graph.nodes[i];
    const auto fold = folds_.find(i);
    std::vector<std::string> inputs = {x};
    if (fold == folds_.end()) {
      inputs.push_back(Weight(node, 0));
      if (node.variables.size() > 1) inputs.push_back(Weight(node, 1));
    } else {
      AppendFolded(node, fold->second, inputs);
    }
    // Without activation the node has the layer's name; else the activation, which comes last, has.
    const bool activates = node.activation != Activation::kNone;
    onnx::NodeProto* const conv =
        out_.Node("Conv", activates ? node.name + "/linear" : node.name, inputs);
    if (node.op == Op::kDepthwiseConv) SetInt(conv, "group", node.channels);
    const std::string y = Window(conv, i);
    return activates ? Activate(node.name, y, node.activation) : y;
  }

  void AppendFolded(const nn::Node& node, const Affine& affine, std::vector<std::string>& inputs) {
    const nn::Variable& kernel = Variable(node, 0);
    std::vector<float> values = Floats(weights_.Of(kernel));
    const size_t each = values.size() / affine.scale.size();  // numbers of one output channel
    for (size_t e = 0; e < values.size(); ++e) {
      values[e] = static_cast<float>(static_cast<double>(values[e]) * affine.scale[e / each]);
    }
    std::vector<float> bias(affine.shift.begin(), affine.shift.end());
    if (node.variables.size() > 1) {
      const std::vector<float> own = Floats(weights_.Of(Variable(node, 1)));
      for (size_t c = 0; c < bias.size(); ++c) {
        bias[c] =
            static_cast<float>(affine.shift[c] + static_cast<double>(own[c]) * affine.scale[c]);
      }
    }
    inputs.push_back(out_.Tensor("folded/" + kernel.name, kernel.shape, values));
    inputs.push_back(
        out_.Tensor(absl::StrCat("folded/", node.name, "/bias"), {node.channels}, bias));
  }

  std::string Normalize(const nn::Node& node, const std::string& x) {
    const size_t beta = nn::HasGamma(node) ? 1 : 0;
    const std::string gamma =
        nn::HasGamma(node)
            ? Weight(node, 0)
            : out_.Tensor(absl::StrCat("constant/", node.name, "/gamma"), {node.channels},
                          std::vector<float>(static_cast<size_t>(node.channels), 1.0F));
    onnx::NodeProto* const y =
        out_.Node("BatchNormalization", node.name,
                  {x, gamma, Weight(node, beta), Weight(node, beta + 1), Weight(node, beta + 2)});
    SetFloat(y, "epsilon", static_cast<float>(node.epsilon));
    return y->output(0);
  }

  // Keras' Normalization. Mean and variance keep their bytes; their shape gets axes to broadcast.
  std::string Standardize(const nn::Node& node, const std::string& x) {
    const std::vector<int64_t> shape = {1, node.channels, 1, 1};
    const auto weight = [&](size_t i) {
      const nn::Variable& variable = Variable(node, i);
      return out_.Tensor("backbone/" + variable.name, shape, weights_.Of(variable).bytes);
    };
    const std::string centred = out_.Apply("Sub", node.name + "/centred", {x, weight(0)});
    std::string deviation = out_.Apply("Sqrt", node.name + "/deviation", {weight(1)});
    deviation =
        out_.Apply("Max", node.name + "/at_least", {deviation, out_.Scalar(kNormalizationEpsilon)});
    if (options_.auto_scaling && DividesOnceMore(weights_)) {
      std::vector<float> roots;
      for (const float d : kImagenetDeviation) roots.push_back(std::sqrt(d));
      deviation =
          out_.Apply("Mul", node.name + "/imagenet",
                     {deviation, out_.Tensor("constant/imagenet_deviation", {1, 3, 1, 1}, roots)});
    }
    return out_.Apply("Div", node.name, {centred, deviation});
  }

  std::string Activate(const std::string& name, const std::string& x, Activation activation) {
    switch (activation) {
      case Activation::kNone:
        return x;
      case Activation::kRelu:
        return out_.Apply("Relu", name, {x});
      case Activation::kRelu6:
        return out_.Apply("Clip", name, {x, out_.Scalar(0), out_.Scalar(6)});
      case Activation::kSwish:
        return out_.Apply("Mul", name, {x, out_.Apply("Sigmoid", name + "/sigmoid", {x})});
      case Activation::kSigmoid:
        return out_.Apply("Sigmoid", name, {x});
    }
    return x;
  }

  void Outputs() {
    onnx::NodeProto* const flat = out_.Node(
        "Flatten", "gap", {out_.Apply("GlobalAveragePool", "gap/pooled", {values_.back()})});
    SetInt(flat, "axis", 1);
    if (weights_.head.classes == 0) {
      out_.Output("gap", {options_.batch, weights_.graph.features()});
      return;
    }
    std::string y = "gap";
    if (weights_.head.hidden_units > 0) y = out_.Apply("Relu", "head/dense", {Dense("dense", y)});
    onnx::NodeProto* const softmax =
        out_.Node("Softmax", "probabilities", {Dense("predictions", y)});
    SetInt(softmax, "axis", 1);
    out_.Output("probabilities", {options_.batch, weights_.head.classes});
  }

  std::string Dense(const std::string& layer, const std::string& x) {
    const auto weight = [&](const char* leaf) {
      const std::string name = absl::StrCat("head/", layer, "/", leaf);
      const nn::TensorView& view = weights_.tensors.at(name);
      return out_.Tensor(name, view.shape, view.bytes);
    };
    onnx::NodeProto* const gemm = out_.Node("Gemm", absl::StrCat("head/", layer, "/linear"),
                                            {x, weight("kernel"), weight("bias")});
    SetInt(gemm, "transB", 1);
    return gemm->output(0);
  }

  const WeightsFile& weights_;
  const OnnxOptions& options_;
  const std::vector<nn::LayerShape> shapes_;
  OnnxGraph out_;
  std::vector<std::string> values_;  // name of every node's output
  std::map<size_t, Affine> folds_;   // by convolution
  std::vector<size_t> folded_;       // batch norms
};

std::string InputText(const WeightsFile& weights, const OnnxOptions& options) {
  const std::string formula =
      absl::StrCat(FormulaOf(options.preprocessing),
                   ", x = ", weights.channels == 3 ? "RGB" : "grey", " 0..255");
  return options.with_preprocessing ? absl::StrCat("x, uint8; inside: ", formula) : formula;
}

void AddMetadata(onnx::ModelProto& model, const std::string& key, const std::string& value) {
  auto* const entry = model.add_metadata_props();
  entry->set_key(key);
  entry->set_value(value);
}

}  // namespace

absl::StatusOr<onnx::ModelProto> BuildOnnx(const WeightsFile& weights, const OnnxOptions& options) {
  const int64_t least = weights.backbone.min_size;
  if (std::min(options.height, options.width) < least ||
      std::max(options.height, options.width) > kMaxSide || options.batch < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(weights.backbone.id, " takes pictures of ", least, "..", kMaxSide,
                     " pixels in batches of 1 or more (0: any), not ", options.height, "x",
                     options.width, " in batches of ", options.batch));
  }
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("atelier");
  model.add_opset_import()->set_version(kOpset);
  model.mutable_graph()->set_name(weights.backbone.id);
  Exporter(weights, options, model.mutable_graph()).Run();
  AddMetadata(model, "backbone", weights.backbone.id);
  AddMetadata(model, "input", InputText(weights, options));
  AddMetadata(model, "layout", options.nhwc ? "NHWC" : "NCHW");
  AddMetadata(model, "batch_norm", options.fold ? "folded" : "plain");
  if (!options.classes.empty()) AddMetadata(model, "classes", absl::StrJoin(options.classes, ","));
  for (const auto& [key, value] : options.metadata) AddMetadata(model, key, value);
  return model;
}

absl::StatusOr<std::string> ExportOnnx(const WeightsFile& weights, const OnnxOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const onnx::ModelProto model, BuildOnnx(weights, options));
  if (model.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::ResourceExhaustedError("an ONNX file holds at most 2 GiB");
  }
  return model.SerializeAsString();
}

}  // namespace atelier::exporting
