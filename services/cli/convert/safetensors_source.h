// timm's, torch-hub's and Atelier's own .safetensors.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "services/cli/convert/input_file.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

// One layer without name that holds all tensors, in the order of names.
absl::StatusOr<Source> ReadSafetensors(std::shared_ptr<InputFile> file);

}  // namespace atelier::convert
