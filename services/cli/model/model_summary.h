// What `atelier model list` and `show` print: pure functions on the table of backbones.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/catalog.h"
#include "common/nn/graph.h"
#include "nlohmann/json.hpp"

namespace atelier::cli {

struct BackboneRow {
  nn::BackboneInfo info;
  int64_t parameters = 0;
  int64_t trainable = 0;
  int64_t flop = 0;  // one picture of size x size, 2 a multiply-add
  int size = 0;      // pixels
};

// Every backbone at `size` pixels; 0: each at its own default size. A size that a backbone does not
// take gives a row with flop 0.
std::vector<BackboneRow> BackboneRows(int size);

struct LayerRow {
  std::string name;
  std::string type;            // Keras' class
  std::vector<int64_t> shape;  // [height, width, channels]
  int64_t parameters = 0;
  std::vector<std::string> inputs;
  std::vector<nn::Variable> variables;
};
struct ModelSummary {
  BackboneRow backbone;
  std::vector<LayerRow> layers;  // as keras.Model.summary() lists them
};

// InvalidArgument: no such backbone, or a size it does not take.
absl::StatusOr<ModelSummary> SummaryOf(const std::string& backbone, int size, int channels);

std::string SummaryAsText(const ModelSummary& summary);
nlohmann::ordered_json SummaryAsJson(const ModelSummary& summary);

}  // namespace atelier::cli
