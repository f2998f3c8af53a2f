// Places that hold upstream files under their own names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::cli {

// A folder, or a base URL ("https://host/weights"): exactly one of both.
struct Mirror {
  std::filesystem::path folder;
  std::string url;  // without a slash at its end
};

// "http(s)://…", "file:///…" or a folder. InvalidArgument: another scheme, or no such folder.
absl::StatusOr<Mirror> ParseMirror(const std::string& text);
absl::StatusOr<std::vector<Mirror>> ParseMirrors(const std::vector<std::string>& texts);

// ATELIER_WEIGHTS_MIRRORS, separated by commas; empty when unset.
std::vector<std::string> MirrorsFromEnvironment();
// ATELIER_OFFLINE: anything but nothing, 0, no, off and false forbids the network.
bool OfflineFromEnvironment();

}  // namespace atelier::cli
