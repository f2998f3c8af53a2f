#include "services/cli/export/keras_layers.h"

#include <cctype>

namespace atelier::exporting {
namespace {

using nn::Op;

bool IsDepthwiseHalf(const nn::Graph& graph, const nn::Node& node) {
  return node.op == Op::kDepthwiseConv &&
         graph.variables[static_cast<size_t>(node.variables.front())].name.ends_with(
             "/depthwise_kernel");
}

std::string ClassOf(const nn::Node& node) {
  switch (node.op) {
    case Op::kInput:
      return "InputLayer";
    case Op::kConv:
      return "Conv2D";
    case Op::kDepthwiseConv:
      return "DepthwiseConv2D";
    case Op::kBatchNorm:
      return "BatchNormalization";
    case Op::kActivation:
      return "Activation";
    case Op::kAdd:
      // The scaled sum of Inception-ResNet is a layer of its own class.
      return node.scale == 1 ? "Add" : "CustomScaleLayer";
    case Op::kMultiply:
      return "Multiply";
    case Op::kConcat:
      return "Concatenate";
    case Op::kMaxPool:
      return "MaxPooling2D";
    case Op::kAveragePool:
      return "AveragePooling2D";
    case Op::kGlobalAverage:
      return "GlobalAveragePooling2D";
    case Op::kRescale:
      return "Rescaling";
    case Op::kNormalize:
      return "Normalization";
    case Op::kDropout:
      return "Dropout";
  }
  return "Layer";
}

}  // namespace

std::vector<KerasLayer> KerasLayers(const nn::Graph& graph) {
  std::vector<KerasLayer> layers;
  std::vector<int> layer_of(graph.nodes.size(), -1);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (IsDepthwiseHalf(graph, node)) continue;  // comes with its other half
    KerasLayer layer;
    layer.name = node.name;
    layer.keras_class = ClassOf(node);
    layer.node = static_cast<int>(i);
    const nn::Node* reader = &node;
    if (!node.inputs.empty()) {
      const nn::Node& before = graph.nodes[static_cast<size_t>(node.inputs.front())];
      if (IsDepthwiseHalf(graph, before)) {
        layer.keras_class = "SeparableConv2D";
        layer.variables = before.variables;
        reader = &before;
      }
    }
    for (const int input : reader->inputs) {
      layer.inputs.push_back(layer_of[static_cast<size_t>(input)]);
    }
    layer.variables.insert(layer.variables.end(), node.variables.begin(), node.variables.end());
    layer_of[i] = static_cast<int>(layers.size());
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::string SnakeCase(const std::string& keras_class) {
  std::string out;
  for (size_t i = 0; i < keras_class.size(); ++i) {
    const auto c = static_cast<unsigned char>(keras_class[i]);
    const bool before_lower =
        i + 1 < keras_class.size() && std::islower(static_cast<unsigned char>(keras_class[i + 1]));
    const bool after_lower = i > 0 && std::islower(static_cast<unsigned char>(keras_class[i - 1]));
    // "Conv2D": a capital after a digit begins no word.
    if (i > 0 && std::isupper(c) && (after_lower || before_lower)) out += '_';
    out += static_cast<char>(std::tolower(c));
  }
  return out;
}

}  // namespace atelier::exporting
