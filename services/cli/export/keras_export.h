// Weights for Keras 3.
//
//   X.weights.h5  tensors alone, as Model.save_weights writes them: of the backbone's Functional
//                 model, or of Sequential[backbone, GlobalAveragePooling2D, Dense, Dropout, Dense]
//   X.keras       architecture and tensors, as Model.save does: one Functional model that any Keras
//                 3 opens, also where keras.applications lacks the backbone
//
// Layers are told apart by class and counter (the n-th Conv2D), as Keras itself does.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "services/cli/export/weights_file.h"

namespace atelier::exporting {

// Written beside it first and renamed: `output` is whole or not there. InvalidArgument: the name
// ends in neither .weights.h5 nor .keras (Keras goes by it). `auto_scaling`: ModelSpec.scaling is
// AUTO; see DividesOnceMore.
absl::Status ExportKeras(const WeightsFile& weights, bool auto_scaling,
                         const std::filesystem::path& output);

}  // namespace atelier::exporting
