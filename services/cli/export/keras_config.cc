#include "services/cli/export/keras_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "services/cli/export/keras_layers.h"

namespace atelier::exporting {
namespace {

using Json = nlohmann::ordered_json;
using nn::Activation;
using nn::Op;

// A layer's output within the configuration; its shape without the batch.
struct Value {
  std::string layer;
  bool pooled = false;
  int64_t channels = 0;
};

class ConfigWriter {
 public:
  Value Input(int64_t channels) {
    layers_.push_back({{"module", "keras.layers"},
                       {"class_name", "InputLayer"},
                       {"config",
                        {{"batch_shape", {nullptr, nullptr, nullptr, channels}},
                         {"dtype", "float32"},
                         {"name", "input"}}},
                       {"registered_name", nullptr},
                       {"name", "input"},
                       {"inbound_nodes", Json::array()}});
    return {"input", false, channels};
  }

  // `config` without the name. Layers of several inputs (Add) take a list.
  Value Add(const std::string& keras_class, const std::string& name, Json config,
            const std::vector<Value>& inputs, int64_t channels, bool pooled = false) {
    config["name"] = name;
    Json tensors = Json::array();
    Json shapes = Json::array();
    for (const Value& input : inputs) {
      shapes.push_back(Shape(input));
      tensors.push_back({{"class_name", "__keras_tensor__"},
                         {"config",
                          {{"shape", Shape(input)},
                           {"dtype", "float32"},
                           {"keras_history", {input.layer, 0, 0}}}}});
    }
    const bool single = inputs.size() == 1;
    const Json args = single ? tensors : Json::array({tensors});
    layers_.push_back({{"module", "keras.layers"},
                       {"class_name", keras_class},
                       {"config", std::move(config)},
                       {"registered_name", nullptr},
                       {"build_config", {{"input_shape", single ? shapes[0] : shapes}}},
                       {"name", name},
                       {"inbound_nodes", {{{"args", args}, {"kwargs", Json::object()}}}}});
    return {name, pooled, channels};
  }

  Json Finish(const std::string& name, const Value& output) && {
    return {{"module", "keras.src.models.functional"},
            {"class_name", "Functional"},
            {"config",
             {{"name", name},
              {"trainable", true},
              {"layers", std::move(layers_)},
              {"input_layers", {"input", 0, 0}},
              {"output_layers", {output.layer, 0, 0}}}},
            {"registered_name", "Functional"},
            {"build_config", {{"input_shape", nullptr}}}};
  }

 private:
  static Json Shape(const Value& value) {
    if (value.pooled) return {nullptr, value.channels};
    return {nullptr, nullptr, nullptr, value.channels};
  }
  Json layers_ = Json::array();
};

// Keras' layer names hold no slash; the activations of Lite's batch norms here do.
std::string SafeName(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

const char* NameOf(Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return "relu";
    case Activation::kRelu6:
      return "relu6";
    case Activation::kSwish:
      return "silu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kNone:
      break;
  }
  return "linear";
}

class ModelWriter {
 public:
  ModelWriter(const WeightsFile& weights, bool auto_scaling)
      : weights_(weights), auto_scaling_(auto_scaling) {}

  Json Run() && {
    std::vector<Value> values;
    for (const KerasLayer& layer : KerasLayers(weights_.graph)) {
      std::vector<Value> inputs;
      for (const int input : layer.inputs) inputs.push_back(values[static_cast<size_t>(input)]);
      values.push_back(layer.inputs.empty() ? out_.Input(weights_.channels)
                                            : Layer(layer, std::move(inputs)));
    }
    const Value y = Head(values.back());
    return std::move(out_).Finish(weights_.backbone.id, y);
  }

 private:
  Value Layer(const KerasLayer& layer, std::vector<Value> inputs) {
    const nn::Node& node = weights_.graph.nodes[static_cast<size_t>(layer.node)];
    const std::string name = SafeName(layer.name);
    Value& x = inputs.front();
    const auto add = [&](const std::string& keras_class, Json config) {
      return out_.Add(keras_class, name, std::move(config), inputs, node.channels);
    };
    switch (node.op) {
      case Op::kInput:
        return x;
      case Op::kConv:
      case Op::kDepthwiseConv:
        return Convolution(layer, std::move(inputs));
      case Op::kBatchNorm:
        return add("BatchNormalization", {{"momentum", node.momentum},
                                          {"epsilon", node.epsilon},
                                          {"scale", nn::HasGamma(node)}});
      case Op::kActivation:
        return add("Activation", {{"activation", NameOf(node.activation)}});
      case Op::kAdd:
        if (node.scale != 1) {
          inputs[1] =
              out_.Add("Rescaling", name + "_scaled", {{"scale", node.scale}, {"offset", 0.0}},
                       {inputs[1]}, node.channels);
        }
        return add("Add", Json::object());
      case Op::kMultiply:
        return add("Multiply", Json::object());
      case Op::kConcat:
        return add("Concatenate", {{"axis", -1}});
      case Op::kMaxPool:
        // Zeros of ZeroPadding2D never win over what a ReLU gives.
        x = Pad(node, name, x);
        return add("MaxPooling2D", Window(node, "pool_size"));
      case Op::kAveragePool:
        return add("AveragePooling2D", Window(node, "pool_size"));
      case Op::kGlobalAverage:
        return add("GlobalAveragePooling2D", {{"keepdims", true}});
      case Op::kRescale:
        return add("Rescaling", {{"scale", node.scale}, {"offset", 0.0}});
      case Op::kNormalize: {
        const Value y = add("Normalization", {{"axis", {-1}}});
        return auto_scaling_ && DividesOnceMore(weights_) ? DivideOnceMore(name, y) : y;
      }
      case Op::kDropout:  // of whole samples
        return add("Dropout", {{"rate", node.rate}, {"noise_shape", {nullptr, 1, 1, 1}}});
    }
    return x;
  }

  Value DivideOnceMore(const std::string& name, const Value& x) {
    Json scale = Json::array();
    for (const float d : kImagenetDeviation) scale.push_back(1 / std::sqrt(static_cast<double>(d)));
    return out_.Add("Rescaling", name + "_imagenet", {{"scale", scale}, {"offset", 0.0}}, {x},
                    x.channels);
  }

  // kHalf: zeros all around, then a layer that pads nothing.
  Value Pad(const nn::Node& node, const std::string& name, const Value& x) {
    if (node.padding != nn::Padding::kHalf) return x;
    const int h = node.kernel[0] / 2;
    const int w = node.kernel[1] / 2;
    return out_.Add("ZeroPadding2D", name + "_pad", {{"padding", {{h, h}, {w, w}}}}, {x},
                    x.channels);
  }

  static Json Window(const nn::Node& node, const char* size) {
    return {{size, {node.kernel[0], node.kernel[1]}},
            {"strides", {node.stride, node.stride}},
            {"padding", node.padding == nn::Padding::kSame ? "same" : "valid"}};
  }

  Value Convolution(const KerasLayer& layer, std::vector<Value> inputs) {
    const nn::Node& node = weights_.graph.nodes[static_cast<size_t>(layer.node)];
    const std::string name = SafeName(layer.name);
    const bool separable = layer.keras_class == "SeparableConv2D";
    // The window of a separable convolution is its depthwise half's.
    const nn::Node& window =
        separable ? weights_.graph.nodes[static_cast<size_t>(node.inputs.front())] : node;
    inputs[0] = Pad(window, name, inputs[0]);
    Json config = Window(window, "kernel_size");
    config["activation"] = NameOf(node.activation);
    config["use_bias"] = layer.variables.size() > (separable ? size_t{2} : size_t{1});
    if (layer.keras_class != "DepthwiseConv2D") config["filters"] = node.channels;
    return out_.Add(layer.keras_class, name, std::move(config), inputs, node.channels);
  }

  Value Head(const Value& features) {
    const ::atelier::exporting::Head& head = weights_.head;
    if (head.classes == 0) return features;
    Value y = out_.Add("GlobalAveragePooling2D", "gap", Json::object(), {features},
                       features.channels, /*pooled=*/true);
    if (head.hidden_units > 0) {
      y = out_.Add("Dense", "dense", {{"units", head.hidden_units}, {"activation", "relu"}}, {y},
                   head.hidden_units, true);
    }
    return out_.Add("Dense", "predictions", {{"units", head.classes}, {"activation", "softmax"}},
                    {y}, head.classes, true);
  }

  const WeightsFile& weights_;
  const bool auto_scaling_;
  ConfigWriter out_;
};

// keras.applications has all of ImageNet's backbones but timm's Lite.
bool InKerasApplications(const nn::BackboneInfo& info) {
  return info.has_imagenet_weights && info.input != nn::ImagenetInput::kLite;
}

std::string Quoted(const std::filesystem::path& path) { return Json(path.string()).dump(); }

std::string HeadScript(const Head& head, double dropout) {
  std::string text = ", keras.layers.GlobalAveragePooling2D()";
  if (head.hidden_units > 0) {
    absl::StrAppend(&text, ", keras.layers.Dense(", head.hidden_units, ", \"relu\")");
  }
  if (dropout > 0) absl::StrAppendFormat(&text, ", keras.layers.Dropout(%.4g)", dropout);
  return absl::StrCat(text, ", keras.layers.Dense(", head.classes, ", \"softmax\")");
}

}  // namespace

std::string KerasConfig(const WeightsFile& weights, bool auto_scaling) {
  return ModelWriter(weights, auto_scaling).Run().dump();
}

std::string KerasScript(const WeightsFile& weights, const ScriptOptions& options) {
  std::string text =
      absl::StrCat("# takes float32 [n, ", options.size, ", ", options.size, ", ", weights.channels,
                   "], ", FormulaOf(options.preprocessing), " of ",
                   weights.channels == 3 ? "RGB" : "grey", " x = 0..255\nimport keras\n");
  const std::string file = Quoted(options.file);
  if (options.file.string().ends_with(".keras")) {
    return absl::StrCat(text, "model = keras.models.load_model(", file, ")\n");
  }
  if (!InKerasApplications(weights.backbone)) {
    return absl::StrCat(text, "# keras.applications has no ", weights.backbone.display_name,
                        ": export to NAME.keras, which holds the architecture as well\n");
  }
  const std::string backbone = absl::StrFormat(
      "keras.applications.%s(include_top=False, weights=None, input_shape=(%d, %d, %d))",
      weights.backbone.display_name, options.size, options.size, weights.channels);
  if (weights.head.classes == 0) {
    absl::StrAppend(&text, "model = ", backbone, "\n");
  } else {
    absl::StrAppend(&text, "model = keras.Sequential([", backbone,
                    HeadScript(weights.head, options.dropout), "])\n");
  }
  absl::StrAppend(&text, "model.load_weights(", file, ")\n");
  if (options.auto_scaling && DividesOnceMore(weights)) {
    // The layer's name counts up in a session; its class does not.
    absl::StrAppend(&text, "n = next(x for x in ",
                    weights.head.classes == 0 ? "model" : "model.layers[0]",
                    ".layers if isinstance(x, keras.layers.Normalization))\n"
                    "# as Keras does for weights=\"imagenet\"\n"
                    "n.adapt_variance.assign(n.adapt_variance * keras.ops.convert_to_tensor([",
                    absl::StrJoin(kImagenetDeviation, ", "), "])); n.finalize_state()\n");
  }
  return text;
}

}  // namespace atelier::exporting
