#include "common/artifacts/artifact_store.h"

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"

namespace atelier::artifacts {

absl::Status CheckDigest(const std::string& digest) {
  if (IsSha256Hex(digest)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "an artifact's digest is 64 lower-case hexadecimal characters (SHA-256)");
}

absl::Status CheckAnnounced(const std::string& digest, int64_t size) {
  ATELIER_RETURN_IF_ERROR(CheckDigest(digest));
  if (size < 0) return absl::InvalidArgumentError("an artifact's size starts at 0");
  if (size > kMaxArtifactBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("an artifact has at most ", kMaxArtifactBytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ArtifactStore::ReadAll(const std::string& digest) {
  ATELIER_ASSIGN_OR_RETURN(auto reader, Open(digest));
  std::string bytes;
  bytes.reserve(static_cast<size_t>(reader->size()));
  while (true) {
    ATELIER_ASSIGN_OR_RETURN(const std::string piece, reader->Read(size_t{1} << 20));
    if (piece.empty()) return bytes;
    bytes += piece;
  }
}

absl::StatusOr<std::string> ArtifactStore::Put(std::string_view bytes) {
  const std::string digest = Sha256Hex(bytes);
  ATELIER_ASSIGN_OR_RETURN(auto writer, Create(digest, static_cast<int64_t>(bytes.size())));
  ATELIER_RETURN_IF_ERROR(writer->Append(bytes));
  ATELIER_RETURN_IF_ERROR(writer->Commit());
  return digest;
}

}  // namespace atelier::artifacts
