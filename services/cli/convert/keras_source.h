// Keras' weights: legacy .h5 (official files, whole models), .weights.h5 and .keras of Keras 3.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "services/cli/convert/hdf5_file.h"
#include "services/cli/convert/input_file.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

// Tells the two layouts apart by their content: the attribute layer_names (also below
// "model_weights"), else groups ".../LAYER/vars/N". InvalidArgument when it is neither.
absl::StatusOr<Source> ReadKerasHdf5(std::shared_ptr<InputFile> file);

}  // namespace atelier::convert
