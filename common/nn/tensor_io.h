// LibTorch tensors <-> safetensors bytes. Torch header.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace atelier::nn {

// Own copies (one copy each) on the CPU, in the file's types. InvalidArgument: not valid
// safetensors; or a NaN or Inf, naming the tensor.
absl::StatusOr<std::map<std::string, at::Tensor>> LoadTensorsFromSafetensors(
    std::string_view bytes);

// Deterministic bytes; each tensor is copied once (twice when not dense in logical order).
// Types float, double, bf16, half, int64, int32, uint8. Devices other than the CPU are copied over.
std::string SaveTensorsToSafetensors(const std::map<std::string, at::Tensor>& tensors,
                                     const std::map<std::string, std::string>& metadata = {});

}  // namespace atelier::nn
