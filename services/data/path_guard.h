// Paths that clients send stay below one root.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace atelier::data {

// The existing folder `path` ("." is the root) below `root` (canonical). InvalidArgument: absolute,
// "..", NUL, backslash, percent-encoding, over 1,024 characters or 255 in one name, or a link that
// leads out. NotFound: no such folder. As ErrnoStatus: it could not be told. Messages name the path
// as sent, never the root.
absl::StatusOr<std::filesystem::path> ResolveBelow(const std::filesystem::path& root,
                                                   const std::string& path);

// Whether there is such a file, links followed, below `root` (canonical). As ErrnoStatus: it could
// not be told, for want of a right or because the disk, the network or memory failed.
absl::StatusOr<bool> IsBelow(const std::filesystem::path& root, const std::filesystem::path& file);

}  // namespace atelier::data
