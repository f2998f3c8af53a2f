// Content-addressed bytes: initial weights, checkpoints, weights, probabilities. An artifact is
// named by its SHA-256 and never changes, so a reader sees all of it or NOT_FOUND, never a torn
// one.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::artifacts {

constexpr int64_t kMaxArtifactBytes = int64_t{4} << 30;

// One upload. Not thread-safe. Nothing is stored without Commit.
class ArtifactWriter {
 public:
  virtual ~ArtifactWriter() = default;
  // InvalidArgument when more arrives than was announced; ResourceExhausted when the disk is full.
  virtual absl::Status Append(std::string_view bytes) = 0;
  // Durable when it returns OK. InvalidArgument: size or digest are not the announced ones.
  virtual absl::Status Commit() = 0;
};

// One download. Not thread-safe. Stays valid when the artifact is deleted meanwhile.
class ArtifactReader {
 public:
  virtual ~ArtifactReader() = default;
  virtual int64_t size() const = 0;
  // The next at most `max_bytes`; empty at the end. Read from the start to the end, the bytes are
  // checked against the digest: DataLoss instead of the last piece. Files that turn out to be
  // damaged are set aside as DIGEST.damaged: Open goes on saying DataLoss, Size says NotFound, and
  // the artifact can be stored again.
  virtual absl::StatusOr<std::string> Read(size_t max_bytes) = 0;
};

struct StoredArtifact {
  std::string digest;
  int64_t size = 0;
  std::chrono::system_clock::time_point stored;  // or touched
};

// Thread-safe. Digests that are not 64 hex characters are InvalidArgument everywhere.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;
  virtual absl::StatusOr<std::unique_ptr<ArtifactWriter>> Create(const std::string& digest,
                                                                 int64_t size) = 0;
  // NotFound when absent, DataLoss when damaged; ResourceExhausted and Unavailable (which may pass)
  // and PermissionDenied (which needs somebody) say nothing of the bytes.
  virtual absl::StatusOr<std::unique_ptr<ArtifactReader>> Open(const std::string& digest,
                                                               int64_t offset = 0) = 0;
  // NotFound when absent.
  virtual absl::StatusOr<int64_t> Size(const std::string& digest) = 0;
  // OK: counts as stored now, durably, so that somebody may refer to it without storing it again.
  // NotFound when absent; Size alone promises nothing of what another upload is just committing.
  virtual absl::Status Touch(const std::string& digest) = 0;
  // OK when it is not there.
  virtual absl::Status Delete(const std::string& digest) = 0;
  virtual absl::StatusOr<std::vector<StoredArtifact>> List() = 0;
  // Frees what uploads took that never ended (their process was killed), and says how many there
  // were. Only while no upload is under way.
  virtual absl::StatusOr<int> RemoveUnfinished() = 0;

  // The whole artifact, checked.
  absl::StatusOr<std::string> ReadAll(const std::string& digest);
  // Stores `bytes` and returns their digest.
  absl::StatusOr<std::string> Put(std::string_view bytes);
};

// Files DIR/ab/<digest>, written as temp, fsync, rename, fsync of the folder. Makes DIR.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenDirectoryStore(const std::filesystem::path& dir);

// OK for 64 lower-case hex characters.
absl::Status CheckDigest(const std::string& digest);
// What an upload announces: a digest, and 0..kMaxArtifactBytes bytes; InvalidArgument below 0,
// ResourceExhausted above.
absl::Status CheckAnnounced(const std::string& digest, int64_t size);

}  // namespace atelier::artifacts
