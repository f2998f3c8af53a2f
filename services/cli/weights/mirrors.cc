#include "services/cli/weights/mirrors.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"

namespace atelier::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::StatusOr<Mirror> ParseMirror(const std::string& text) {
  Mirror mirror;
  if (absl::StartsWith(text, "http://") || absl::StartsWith(text, "https://")) {
    mirror.url = text;
    while (absl::EndsWith(mirror.url, "/")) mirror.url.pop_back();
    return mirror;
  }
  mirror.folder = std::string(absl::StripPrefix(text, "file://"));
  if (absl::StrContains(mirror.folder.string(), "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("mirror \"", text, "\": a folder, http:// or https:// is expected"));
  }
  std::error_code error;
  if (!std::filesystem::is_directory(mirror.folder, error)) {
    return absl::InvalidArgumentError(absl::StrCat("mirror \"", text, "\" is not a folder"));
  }
  return mirror;
}

absl::StatusOr<std::vector<Mirror>> ParseMirrors(const std::vector<std::string>& texts) {
  std::vector<Mirror> mirrors;
  for (const std::string& text : texts) {
    ATELIER_ASSIGN_OR_RETURN(Mirror mirror, ParseMirror(text));
    mirrors.push_back(std::move(mirror));
  }
  return mirrors;
}

std::vector<std::string> MirrorsFromEnvironment() {
  return absl::StrSplit(Environment("ATELIER_WEIGHTS_MIRRORS"), ',', absl::SkipWhitespace());
}

bool OfflineFromEnvironment() {
  const std::string value = absl::AsciiStrToLower(Environment("ATELIER_OFFLINE"));
  return !value.empty() && value != "0" && value != "no" && value != "off" && value != "false";
}

}  // namespace atelier::cli
