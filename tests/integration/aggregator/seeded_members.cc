#include "tests/integration/aggregator/seeded_members.h"

#include <google/protobuf/util/json_util.h>
#include <torch/torch.h>

#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/ensemble/preprocessing_digest.h"
#include "common/nn/member_model.h"
#include "common/nn/tensor_io.h"
#include "common/vision/decode.h"

namespace atelier::aggregator {

absl::StatusOr<SeededMember> MakeSeededMember(const std::string& name, const std::string& backbone,
                                              int size, uint64_t seed) {
  SeededMember member;
  member.spec.set_name(name);
  v1::ModelSpec& model = *member.spec.mutable_model();
  model.set_backbone(backbone);
  model.set_classes(2);
  model.mutable_image()->set_size(size);
  model.mutable_head()->set_hidden_units(8);
  ATELIER_ASSIGN_OR_RETURN(const auto network, nn::MemberModel::Create(model, seed));
  member.weights = nn::SaveTensorsToSafetensors(network->NamedTensors());
  member.spec.set_weights_digest(Sha256Hex(member.weights));
  return member;
}

v1::EnsembleVersion MakeSeededVersion(const std::string& name,
                                      const std::vector<SeededMember>& members) {
  v1::EnsembleVersion version;
  version.set_name(name);
  version.set_version(1);
  version.add_classes("dog");
  version.add_classes("house");
  for (const SeededMember& member : members) *version.add_members() = member.spec;
  version.set_preprocessing_digest(ensemble::PreprocessingDigest(version));
  return version;
}

absl::Status WriteRunDirectory(const std::filesystem::path& run, const v1::EnsembleVersion& version,
                               const std::vector<SeededMember>& members) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(run / "weights"));
  for (const SeededMember& member : members) {
    ATELIER_RETURN_IF_ERROR(WriteFileAtomically(
        run / "weights" / (member.spec.weights_digest() + ".safetensors"), member.weights));
  }
  // What the CLI knows a run directory by.
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(run / "run.json", "{\"run_id\": \"seeded\"}"));
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(version, &json).ok()) {
    return absl::InternalError("ensemble.json");
  }
  return WriteFileAtomically(run / "ensemble.json", json);
}

std::string MakePicture(int number, int height, int width) {
  vision::Image image = vision::Image::Make(height, width, 3);
  uint32_t state = static_cast<uint32_t>(number) * 2654435761U + 1;
  for (uint8_t& value : image.pixels) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<uint8_t>(state >> 24);
  }
  return vision::EncodePng(image).value();
}

}  // namespace atelier::aggregator
