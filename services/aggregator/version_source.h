// Where versions and their weights come from.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"
#include "services/coordinator/client.h"

namespace atelier::aggregator {

// Thread-safe.
class VersionSource {
 public:
  virtual ~VersionSource() = default;
  // Calls `on_version` for the version to serve, then for each one that takes its place, on any
  // thread; it does not block. Call once.
  virtual absl::Status Start(std::function<void(const v1::EnsembleVersion&)> on_version) = 0;
  // No further call of on_version once it returns. Idempotent.
  virtual void Stop() = 0;
  // The bytes of a weights artifact, their digest checked. NotFound, DataLoss.
  virtual absl::StatusOr<std::string> Weights(const std::string& digest) = 0;
  // Earlier versions of the same name that were promoted once, newest first.
  virtual std::vector<v1::EnsembleVersion> Older(const v1::EnsembleVersion& ensemble) = 0;
};

// The promoted version of `name` (empty: of the name promoted last); `pinned` > 0: always that one.
std::unique_ptr<VersionSource> MakeRegistrySource(
    std::shared_ptr<coordinator::RegistryClient> registry, const std::string& name, int pinned);

// The one ensemble of a run directory (see ServiceOptions::run_directory). `version` > 0 replaces
// the stored number. NotFound without ensemble.json; DataLoss when it is damaged.
absl::StatusOr<std::unique_ptr<VersionSource>> OpenRunDirectory(const std::filesystem::path& run,
                                                                int version = 0);

}  // namespace atelier::aggregator
