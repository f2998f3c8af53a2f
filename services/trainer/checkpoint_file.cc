#include "services/trainer/checkpoint_file.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/nn/tensor_io.h"

namespace atelier::trainer {
namespace {

constexpr std::string_view kMagic = "ATELCKP1";
constexpr int kFormat = 1;
constexpr uint64_t kMaxManifest = 64 << 20;

}  // namespace

std::string SerializeCheckpoint(const Checkpoint& checkpoint) {
  v1::CheckpointManifest manifest = checkpoint.manifest;
  manifest.set_format(kFormat);
  const std::string head = manifest.SerializeAsString();
  const uint64_t length = head.size();
  std::string bytes(kMagic);
  bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += head;
  bytes += nn::SaveTensorsToSafetensors(checkpoint.tensors);
  return bytes;
}

std::map<std::string, at::Tensor> WeightsOf(const Checkpoint& checkpoint) {
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    absl::string_view rest = name;
    if (absl::ConsumePrefix(&rest, "model/")) weights[std::string(rest)] = tensor;
  }
  return weights;
}

absl::StatusOr<Checkpoint> ParseCheckpoint(std::string_view bytes) {
  uint64_t length = 0;
  const size_t fixed = kMagic.size() + sizeof(length);
  if (bytes.size() < fixed || bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError("not a checkpoint: it does not begin with ATELCKP1");
  }
  std::memcpy(&length, bytes.data() + kMagic.size(), sizeof(length));
  if (length > kMaxManifest || length > bytes.size() - fixed) {
    return absl::DataLossError("the checkpoint is cut within its manifest");
  }
  Checkpoint checkpoint;
  if (!checkpoint.manifest.ParseFromArray(bytes.data() + fixed, static_cast<int>(length))) {
    return absl::DataLossError("the checkpoint's manifest cannot be read");
  }
  if (checkpoint.manifest.format() != kFormat) {
    return absl::DataLossError(absl::StrCat("the checkpoint has format ",
                                            checkpoint.manifest.format(), ", this trainer reads ",
                                            kFormat));
  }
  auto tensors = nn::LoadTensorsFromSafetensors(bytes.substr(fixed + length));
  // Without memory nothing is said of the bytes.
  if (absl::IsResourceExhausted(tensors.status())) return tensors.status();
  if (!tensors.ok()) {
    return absl::DataLossError(
        absl::StrCat("the checkpoint's tensors: ", tensors.status().message()));
  }
  checkpoint.tensors = *std::move(tensors);
  return checkpoint;
}

}  // namespace atelier::trainer
