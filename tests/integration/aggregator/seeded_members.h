// Members with seeded weights: real networks without a training.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::aggregator {

struct SeededMember {
  v1::EnsembleMember spec;
  std::string weights;  // safetensors bytes; spec.weights_digest is theirs
};

// `backbone` at `size` pixels, two classes, weights drawn from `seed`.
absl::StatusOr<SeededMember> MakeSeededMember(const std::string& name, const std::string& backbone,
                                              int size, uint64_t seed);

// Classes "dog" and "house", digest of the preprocessing filled in.
v1::EnsembleVersion MakeSeededVersion(const std::string& name,
                                      const std::vector<SeededMember>& members);

// A run directory as `atelier train` leaves it, as far as serving needs it.
absl::Status WriteRunDirectory(const std::filesystem::path& run, const v1::EnsembleVersion& version,
                               const std::vector<SeededMember>& members);

// A PNG of seeded noise; different for each `number`.
std::string MakePicture(int number, int height = 40, int width = 56);

}  // namespace atelier::aggregator
