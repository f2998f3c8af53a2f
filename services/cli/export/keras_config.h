// Keras' own description of a model, and the Python that opens what was exported.
#pragma once

#include <filesystem>
#include <string>

#include "services/cli/export/weights_file.h"

namespace atelier::exporting {

// config.json of a .keras archive: a Functional model from the picture (any size) to the feature
// map, or with a head to the probabilities.
// `auto_scaling`: ModelSpec.scaling is AUTO; see DividesOnceMore.
std::string KerasConfig(const WeightsFile& weights, bool auto_scaling);

struct ScriptOptions {
  std::filesystem::path file;
  int64_t size = 0;    // pixels
  double dropout = 0;  // between the head's layers
  Preprocessing preprocessing;
  bool auto_scaling = true;
};
// Lines of Python that make `model`; each ended by "\n". Comments say what the model takes.
std::string KerasScript(const WeightsFile& weights, const ScriptOptions& options);

}  // namespace atelier::exporting
