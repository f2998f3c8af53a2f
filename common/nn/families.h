// One function per family of backbones, each in its own file; the catalogue names them.
#pragma once

#include "common/nn/graph.h"

namespace atelier::nn {

Graph XceptionGraph(int input_channels);

Graph InceptionV3Graph(int input_channels);
Graph InceptionResNetV2Graph(int input_channels);
Graph DenseNet201Graph(int input_channels);

// Multipliers of the block table: B0 (1, 1), B1 (1, 1.1), B2 (1.1, 1.2), B3 (1.2, 1.4), B4
// (1.4, 1.8), B5 (1.6, 2.2).
Graph EfficientNetGraph(int input_channels, double width, double depth);
// Likewise: lite0 (1, 1), lite1 (1, 1.1), lite2 (1.1, 1.2).
Graph EfficientNetLiteGraph(int input_channels, double width, double depth);

Graph TinyCnnGraph(int input_channels);

}  // namespace atelier::nn
