#include "services/data/path_guard.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"

namespace atelier::data {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMaxPath = 1024;
constexpr size_t kMaxPart = 255;

bool HasPrefix(const fs::path& root, const fs::path& path) {
  const auto [end, ignored] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end();
}

// The answer, not a failure to find it.
bool SaysThereIsNone(const std::error_code& error) {
  return error.value() == ENOENT || error.value() == ENOTDIR || error.value() == ELOOP;
}

}  // namespace

absl::StatusOr<fs::path> ResolveBelow(const fs::path& root, const std::string& path) {
  const std::string shown = path.substr(0, 80);
  if (path.size() > kMaxPath || path.find('\0') != std::string::npos ||
      path.find('\\') != std::string::npos || path.find("%2") != std::string::npos ||
      path.find("%5") != std::string::npos) {
    return absl::InvalidArgumentError("dataset: not a plain relative path");
  }
  const fs::path relative = path.empty() ? fs::path(".") : fs::path(path);
  if (relative.is_absolute()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset ", shown,
        " is absolute; give a path inside the data-service's root, \".\" for the root itself"));
  }
  for (const fs::path& part : relative) {
    if (part == "..") return absl::InvalidArgumentError("dataset " + shown + " leaves the root");
    if (part.native().size() > kMaxPart) {
      return absl::InvalidArgumentError("dataset " + shown + "…: a name of over 255 characters");
    }
  }
  std::error_code error;
  const fs::path resolved = fs::canonical(root / relative, error);
  const bool folder = !error && fs::is_directory(resolved, error);
  if (error && !SaysThereIsNone(error)) {
    return ErrnoStatus(error.value(), "looking for the dataset", shown);
  }
  if (!folder) {
    return absl::NotFoundError(
        absl::StrCat("dataset ", shown, ": no such folder below the data-service's root"));
  }
  if (!HasPrefix(root, resolved)) {
    return absl::InvalidArgumentError("dataset " + shown + " is a link that leaves the root");
  }
  return resolved;
}

absl::StatusOr<bool> IsBelow(const fs::path& root, const fs::path& file) {
  std::error_code error;
  const fs::path resolved = fs::canonical(file, error);
  if (!error) return HasPrefix(root, resolved);
  if (SaysThereIsNone(error)) return false;
  return ErrnoStatus(error.value(), "looking for", file);
}

}  // namespace atelier::data
