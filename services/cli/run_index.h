// What this machine's user has trained: an index of runs and ensembles under AtelierHome().
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::cli {

struct IndexedRun {
  std::string run_id;
  std::string name;
  std::filesystem::path path;  // of the run directory; may have been moved since
  int64_t created_unix_ms = 0;
};

// Embedded runs have a registry each, so that names are versioned here: version counts from 1
// within the name, over all run directories of this user.
struct IndexedEnsemble {
  std::string name;
  int version = 0;
  std::filesystem::path path;
  std::string run_id;
  int64_t created_unix_ms = 0;
  bool promoted = false;
};

// Thread-safe between processes (flock); each call reads or replaces index.json atomically.
class RunIndex {
 public:
  explicit RunIndex(std::filesystem::path home);

  absl::Status AddRun(const IndexedRun& run);      // replaces the entry of the same path
  absl::StatusOr<std::vector<IndexedRun>> Runs();  // newest first

  // Gives the ensemble of a run directory its version (the same again for the same path and run)
  // and promotes it when it is the first of its name or `promote` is set.
  absl::StatusOr<IndexedEnsemble> AddEnsemble(const std::string& name,
                                              const std::filesystem::path& path,
                                              const std::string& run_id, int64_t created_unix_ms,
                                              bool promote);
  absl::StatusOr<std::vector<IndexedEnsemble>> Ensembles();  // by name, newest first
  // version 0: the promoted one. NotFound names what there is.
  absl::StatusOr<IndexedEnsemble> Find(const std::string& name, int version);
  absl::StatusOr<IndexedEnsemble> Promote(const std::string& name, int version);

 private:
  struct Contents;
  absl::StatusOr<Contents> Load();
  absl::Status Store(const Contents& contents);
  std::filesystem::path home_;
};

// The ensemble of an entry, out of its run directory. NotFound when the directory is gone, or has
// become another run's: the entry's weights are none that are there.
absl::StatusOr<v1::EnsembleVersion> ReadIndexed(const IndexedEnsemble& entry);

struct EnsembleName {
  std::string name;
  int version = 0;  // 0: the promoted one
};
// "paintings@3" or "paintings". InvalidArgument for anything else.
absl::StatusOr<EnsembleName> ParseEnsembleName(const std::string& text);

}  // namespace atelier::cli
