// Paths that clients send stay below one root.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace atelier::data {

// The existing folder `path` ("." is the root) below `root` (canonical). InvalidArgument: absolute,
// "..", NUL, backslash, percent-encoding, over 1,024 characters or 255 in one name, or a link that
// leads out. NotFound: no such folder. Messages name the path as sent, never the root.
absl::StatusOr<std::filesystem::path> ResolveBelow(const std::filesystem::path& root,
                                                   const std::string& path);

// Whether an existing file, links followed, lies below `root` (canonical).
bool IsBelow(const std::filesystem::path& root, const std::filesystem::path& file);

}  // namespace atelier::data
