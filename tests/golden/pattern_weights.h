// Weights and pictures by formula (../shared/goldens/README.md, "The values"), so that agreement
// with Keras is tested without any large file. Reads tests/golden/data.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/nn/graph.h"
#include "nlohmann/json.hpp"

namespace atelier::nn::testing {

// ATELIER_SOURCE_DIR/tests/golden/data/NAME. Throws when the file is not there.
std::string ReadGoldenData(const std::string& name);
nlohmann::json ReadGoldenJson(const std::string& name);

// What enters each batch norm: mean and variance, by layer name or in graph order.
class BatchNormTable {
 public:
  // {"block1_conv1_bn": [m, s], …} or [[m, s], …]; empty: m 0, s 1.
  explicit BatchNormTable(const nlohmann::json& table = {}) : table_(table) {}
  std::pair<double, double> Of(const std::string& layer, size_t index) const;

 private:
  nlohmann::json table_;
};

// "backbone/…" of a graph; with `head` = {hidden units, classes} also "head/…", which count on.
std::map<std::string, at::Tensor> PatternTensors(const Graph& graph, const BatchNormTable& table,
                                                 const std::vector<int64_t>& head = {});

// uint8 NHWC [pictures, size, size, 3]; as picture() of reference_common.py.
std::vector<uint8_t> PatternPictures(int64_t size, int64_t pictures = 2);

}  // namespace atelier::nn::testing
