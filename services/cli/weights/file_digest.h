// Digests of a file, and whether it is the one that its publisher names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "services/cli/weights/catalogue.h"

namespace atelier::cli {

struct FileDigests {
  std::string sha256;
  std::string md5;  // lower-case hex
  uint64_t bytes = 0;
};

// Reads the file once, in blocks.
absl::StatusOr<FileDigests> DigestsOf(const std::filesystem::path& path);

// What vouches for a file: "sha256", "md5", "first 8 digits of sha256", "pinned sha256", or
// "nothing" when no digest is known. DataLoss, with both digests, when one differs. `pinned` is the
// sha256 of an earlier verified download; empty: none.
absl::StatusOr<std::string> CheckDigests(const UpstreamFile& file, const FileDigests& found,
                                         const std::string& pinned);

// Pins: <folder>/<file>.sha256 in the format of sha256sum. Empty when there is none (or no digest
// in it).
std::string ReadPin(const std::filesystem::path& folder, const std::string& file);
// Makes the folder.
absl::Status WritePin(const std::filesystem::path& folder, const std::string& file,
                      const std::string& sha256);

}  // namespace atelier::cli
