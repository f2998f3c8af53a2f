// One function per family of backbones, each in its own file; the catalogue names them.
#pragma once

#include "common/nn/graph.h"

namespace atelier::nn {

Graph XceptionGraph(int input_channels);

// Multipliers of the block table: lite0 (1, 1), lite1 (1, 1.1), lite2 (1.1, 1.2).
Graph EfficientNetLiteGraph(int input_channels, double width, double depth);

Graph TinyCnnGraph(int input_channels);

}  // namespace atelier::nn
