#include "services/cli/weights/store.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights/cache_files.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/helper_process.h"
#include "services/cli/weights/mirrors.h"
#include "services/cli/weights/obtain.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxNoteBytes = 1 << 20;

void Say(const FetchOptions& options, const std::string& line) {
  if (options.progress) options.progress(line, /*transient=*/false);
}

std::string LastLine(std::string text) {
  absl::StripTrailingAsciiWhitespace(&text);
  return text.substr(text.rfind('\n') + 1);
}

// A file of the user's own need not be the catalogue's: anything that maps onto the backbone will
// do. But a file that bears a catalogue's name must be that file.
absl::StatusOr<ObtainedFile> TakeFile(const WeightsEntry& entry, const fs::path& path,
                                      const fs::path& pins) {
  for (const UpstreamFile& file : entry.files) {
    if (file.file == path.filename()) return Verify(file, path, path.string(), pins);
  }
  ObtainedFile taken;
  taken.path = path;
  taken.origin = path.string();
  taken.verified_by = "nothing";
  ATELIER_ASSIGN_OR_RETURN(taken.digests, DigestsOf(path));
  return taken;
}

// The converter's report.
absl::StatusOr<Json> RunConverter(const WeightsEntry& entry, const ObtainedFile& input,
                                  const fs::path& output, const FetchOptions& options) {
  fs::path converter = options.converter;
  if (converter.empty()) {
    ATELIER_ASSIGN_OR_RETURN(converter, SiblingProgram("atelier-convert"));
  }
  std::vector<std::string> argv = {converter.string(), input.path.string(), "--backbone",
                                   entry.name,         "--no-head",         "--json",
                                   "--output",         output.string()};
  if (!input.upstream.member.empty()) {
    argv.insert(argv.end(), {"--member", input.upstream.member});
  }
  Say(options, absl::StrCat(entry.name, ": converting ", input.path.filename().string()));
  ATELIER_ASSIGN_OR_RETURN(const ProcessResult result, RunProcess(argv));
  if (result.exit_code >= 128) {
    return absl::InvalidArgumentError(absl::StrCat("atelier-convert was ended by signal ",
                                                   result.exit_code - 128,
                                                   "; the file is damaged or hostile"));
  }
  if (result.exit_code != 0) return absl::InvalidArgumentError(LastLine(result.err));
  Json report = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object() || !report.contains("output_sha256")) {
    return absl::DataLossError("atelier-convert gave no report");
  }
  const std::string& expected = input.upstream.member_sha256;
  const std::string digest = report.value("source_sha256", "");
  if (!expected.empty() && digest != expected) {
    return absl::DataLossError(absl::StrCat(input.upstream.member, " has sha256 ", digest,
                                            ", the catalogue says ", expected));
  }
  return report;
}

std::string NoteText(const WeightsEntry& entry, const ObtainedFile& input, const Json& report) {
  Json note = {{"name", entry.name},
               {"sha256", report["output_sha256"]},
               {"bytes", report.value("output_bytes", 0)},
               {"tensors", report.value("tensors", 0)},
               {"parameters", report.value("parameters", 0)},
               {"format", report.value("format", "")},
               {"source_file", input.path.filename().string()},
               {"source_sha256", report.value("source_sha256", "")},
               {"origin", input.origin},
               {"verified_by", input.verified_by},
               {"file_sha256", input.digests.sha256},
               {"file_md5", input.digests.md5},
               {"file_bytes", input.digests.bytes}};
  const UpstreamFile& upstream = input.upstream;
  if (!upstream.package.empty()) note["package"] = upstream.package + "==" + upstream.version;
  if (!upstream.member.empty()) note["member"] = upstream.member;
  if (!upstream.source.empty()) note["publisher"] = upstream.source;
  if (!upstream.licence.empty()) note["licence"] = upstream.licence;
  note["input_range"] = entry.input_range;
  return note.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// True when the cached file is what its note says (a torn or edited one is fetched again).
bool Intact(const CacheFiles& files) {
  const auto text = ReadFile(files.note, kMaxNoteBytes);
  if (!text.ok()) return false;
  const Json note = Json::parse(*text, nullptr, false);
  if (!note.is_object()) return false;
  const auto digests = DigestsOf(files.weights);
  return digests.ok() && note.value("sha256", "") == digests->sha256;
}

absl::Status Store(const WeightsEntry& entry, const ObtainedFile& input, const fs::path& converted,
                   const Json& report, const CacheFiles& files) {
  // The old note must not vouch for the new weights, nor the new one for the old: none in between.
  std::error_code error;
  fs::remove(files.note, error);
  fs::rename(converted, files.weights, error);
  if (error) return absl::UnavailableError(absl::StrCat("storing weights: ", error.message()));
  ATELIER_RETURN_IF_ERROR(WriteFileAtomically(files.note, NoteText(entry, input, report)));
  if (input.verified_by == "nothing") return absl::OkStatus();
  return WritePin(files.pins, input.upstream.file, input.digests.sha256);
}

// For who may only read the cache, as in a container.
std::string NotThere(const WeightsEntry& entry, const fs::path& cache) {
  return absl::StrCat("the weights of ", entry.name, " are not in ", cache.string(),
                      " (atelier weights fetch ", entry.name, " gets them)");
}

absl::Status FetchLocked(const WeightsEntry& entry, const CacheFiles& files,
                         const FetchOptions& options) {
  std::vector<std::string> names;
  for (const UpstreamFile& file : entry.files) names.push_back(file.file);
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<WorkFolder> work,
                           WorkFolder::Open(files.work, names));
  ATELIER_ASSIGN_OR_RETURN(const ObtainedFile input,
                           options.file.empty() ? Obtain(entry, work->path(), files.pins, options)
                                                : TakeFile(entry, options.file, files.pins));
  const fs::path converted = work->path() / "converted.safetensors";
  ATELIER_ASSIGN_OR_RETURN(const Json report, RunConverter(entry, input, converted, options));
  ATELIER_RETURN_IF_ERROR(Store(entry, input, converted, report, files));
  work->Finish();
  const std::string vouching = input.verified_by == "nothing"
                                   ? "not verified (no digest of its source is known)"
                                   : "source verified by " + input.verified_by;
  Say(options, absl::StrCat(entry.name, ": ready, ", vouching, "; sha256 ",
                            report["output_sha256"].get<std::string>()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<fs::path> FetchWeights(std::string_view name, const FetchOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const WeightsEntry entry, FindWeights(name));
  const fs::path cache = options.cache.empty() ? WeightsCache() : options.cache;
  const CacheFiles files(cache, entry.name);
  const bool cached_will_do = !options.force && options.file.empty();
  if (cached_will_do && Intact(files)) return files.weights;
  ATELIER_RETURN_IF_ERROR(MakeDirectories(cache));
  const auto lock = FetchLock::Wait(files.lock, [&] {
    Say(options, absl::StrCat(entry.name, ": waiting for another process that fetches it"));
  });
  if (!lock.ok()) return Annotate(lock.status(), NotThere(entry, cache));
  // Another process may have fetched it while this one waited.
  if (cached_will_do && Intact(files)) return files.weights;
  ATELIER_RETURN_IF_ERROR(FetchLocked(entry, files, options));
  return files.weights;
}

FetchOptions FetchOptionsFromEnvironment() {
  FetchOptions options;
  options.mirrors = MirrorsFromEnvironment();
  options.offline = OfflineFromEnvironment();
  return options;
}

absl::StatusOr<fs::path> EnsureWeights(std::string_view backbone, const WeightsProgress& progress,
                                       bool offline) {
  FetchOptions options = FetchOptionsFromEnvironment();
  options.progress = progress;
  options.offline = options.offline || offline;
  return FetchWeights(backbone, options);
}

bool HaveWeights(std::string_view name) {
  std::error_code error;
  return fs::exists(CacheFiles(WeightsCache(), std::string(name)).weights, error);
}

bool CanFetchWeights(std::string_view name) {
  return FindWeights(name).status().code() != absl::StatusCode::kNotFound;
}

}  // namespace atelier::cli
