// A backbone's graph as Keras' list of layers: classes, names and variables. No torch here.
#pragma once

#include <string>
#include <vector>

#include "common/nn/graph.h"

namespace atelier::exporting {

struct KerasLayer {
  std::string name;
  std::string keras_class;     // "Conv2D"
  int node = 0;                // whose output is the layer's
  std::vector<int> inputs;     // layers, into the list this one is in
  std::vector<int> variables;  // into Graph::variables, in Keras' order
};

// In the graph's order, the input first. The two halves of a separable convolution are one layer.
std::vector<KerasLayer> KerasLayers(const nn::Graph& graph);

// "SeparableConv2D" -> "separable_conv2d": what Keras 3 names a layer's group in a file.
std::string SnakeCase(const std::string& keras_class);

}  // namespace atelier::exporting
