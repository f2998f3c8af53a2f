// The flags of `atelier train` and the plan they ask for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/recipe.pb.h"
#include "common/vision/decode.h"
#include "services/coordinator/client.h"

namespace atelier::cli {

struct TrainOptions {
  std::string data;
  std::string recipe = "fast";
  std::vector<std::string> members;  // backbone ids; empty: the recipe's
  std::vector<std::string> classes;
  std::vector<std::string> overrides;  // --set
  std::string out;
  std::string name;
  std::string coordinator;
  std::optional<uint64_t> seed;
  std::optional<int> epochs;
  std::optional<int> checkpoint_seconds;
  std::optional<int> threads;
  bool deterministic = false;
  bool promote = false;
  bool offline = false;
  bool no_pretrained = false;
  bool json = false;
  vision::DecodeLimits limits;  // of pictures, when training here
};

// Recipe, then --set, then the other flags. InvalidArgument names what is wrong and what there is.
absl::StatusOr<v1::RunPlan> BuildPlan(const TrainOptions& options);

// "art_painting" out of "/data/Art painting!/": the last part of a path as a name that IsSafeName.
std::string NameFromFolder(const std::string& folder);

// Fetches ImageNet weights that members need and this machine lacks, uploads what the registry
// lacks, and writes the digests into the plan.
absl::Status ProvideWeights(v1::RunPlan& plan, const TrainOptions& options,
                            coordinator::RegistryClient& registry);
// The part that needs no registry, so that a missing download fails before anything is started.
absl::Status EnsureAllWeights(const v1::RunPlan& plan, const TrainOptions& options);

}  // namespace atelier::cli
