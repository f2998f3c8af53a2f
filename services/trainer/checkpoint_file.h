// A checkpoint as one file: "ATELCKP1", u64 little-endian length of the manifest, the manifest
// (v1::CheckpointManifest), one safetensors file. Torch header: only for TORCH targets.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "atelier/v1/checkpoint.pb.h"

namespace atelier::trainer {

struct Checkpoint {
  v1::CheckpointManifest manifest;
  std::map<std::string, at::Tensor> tensors;  // "model/…", "adam_m/…", "adam_v/…"
};

std::string SerializeCheckpoint(const Checkpoint& checkpoint);

// The member's tensors by their artifact names ("backbone/…", "head/…"), sharing storage.
std::map<std::string, at::Tensor> WeightsOf(const Checkpoint& checkpoint);

// DataLoss says what is wrong: magic, lengths, manifest, tensors.
absl::StatusOr<Checkpoint> ParseCheckpoint(std::string_view bytes);

}  // namespace atelier::trainer
