#include "services/cli/run_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/run_directory.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

// Another atelier holds the index for milliseconds only.
constexpr int kLockAttempts = 100;

absl::StatusOr<std::unique_ptr<DirectoryLock>> LockHome(const std::filesystem::path& home) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(home));
  absl::StatusOr<std::unique_ptr<DirectoryLock>> lock = DirectoryLock::Acquire(home);
  for (int i = 1; i < kLockAttempts && !lock.ok(); ++i) {
    absl::SleepFor(absl::Milliseconds(20));
    lock = DirectoryLock::Acquire(home);
  }
  return lock;
}

}  // namespace

struct RunIndex::Contents {
  std::vector<IndexedRun> runs;
  std::vector<IndexedEnsemble> ensembles;
};

RunIndex::RunIndex(std::filesystem::path home) : home_(std::move(home)) {}

absl::StatusOr<RunIndex::Contents> RunIndex::Load() {
  Contents contents;
  const absl::StatusOr<std::string> text = ReadFile(home_ / "index.json");
  if (absl::IsNotFound(text.status())) return contents;
  ATELIER_RETURN_IF_ERROR(text.status());
  try {
    const json document = json::parse(*text);
    for (const json& run : document.at("runs")) {
      contents.runs.push_back({run.at("run_id"), run.at("name"), run.at("path").get<std::string>(),
                               run.at("created_unix_ms")});
    }
    for (const json& e : document.at("ensembles")) {
      contents.ensembles.push_back({e.at("name"), e.at("version"), e.at("path").get<std::string>(),
                                    e.at("run_id"), e.at("created_unix_ms"), e.at("promoted")});
    }
  } catch (const json::exception& e) {
    return absl::DataLossError(absl::StrCat((home_ / "index.json").string(), " is damaged (",
                                            e.what(),
                                            "); move it away, run directories stay usable"));
  }
  return contents;
}

absl::Status RunIndex::Store(const Contents& contents) {
  json document = {{"runs", json::array()}, {"ensembles", json::array()}};
  for (const IndexedRun& run : contents.runs) {
    document["runs"].push_back({{"run_id", run.run_id},
                                {"name", run.name},
                                {"path", run.path.string()},
                                {"created_unix_ms", run.created_unix_ms}});
  }
  for (const IndexedEnsemble& e : contents.ensembles) {
    document["ensembles"].push_back({{"name", e.name},
                                     {"version", e.version},
                                     {"path", e.path.string()},
                                     {"run_id", e.run_id},
                                     {"created_unix_ms", e.created_unix_ms},
                                     {"promoted", e.promoted}});
  }
  return WriteFileAtomically(home_ / "index.json",
                             document.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

absl::Status RunIndex::AddRun(const IndexedRun& run) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<DirectoryLock> lock, LockHome(home_));
  ATELIER_ASSIGN_OR_RETURN(Contents contents, Load());
  std::erase_if(contents.runs, [&](const IndexedRun& r) { return r.path == run.path; });
  contents.runs.push_back(run);
  return Store(contents);
}

absl::StatusOr<std::vector<IndexedRun>> RunIndex::Runs() {
  ATELIER_ASSIGN_OR_RETURN(Contents contents, Load());
  std::stable_sort(contents.runs.begin(), contents.runs.end(),
                   [](const IndexedRun& a, const IndexedRun& b) {
                     return a.created_unix_ms > b.created_unix_ms;
                   });
  return std::move(contents.runs);
}

absl::StatusOr<IndexedEnsemble> RunIndex::AddEnsemble(const std::string& name,
                                                      const std::filesystem::path& path,
                                                      const std::string& run_id,
                                                      int64_t created_unix_ms, bool promote) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<DirectoryLock> lock, LockHome(home_));
  ATELIER_ASSIGN_OR_RETURN(Contents contents, Load());
  int newest = 0;
  for (const IndexedEnsemble& e : contents.ensembles) {
    if (e.name != name) continue;
    if (e.run_id == run_id && e.path == path) return e;
    newest = std::max(newest, e.version);
  }
  IndexedEnsemble added{name, newest + 1, path, run_id, created_unix_ms, promote || newest == 0};
  if (added.promoted) {
    for (IndexedEnsemble& e : contents.ensembles) e.promoted = e.promoted && e.name != name;
  }
  contents.ensembles.push_back(added);
  ATELIER_RETURN_IF_ERROR(Store(contents));
  return added;
}

absl::StatusOr<std::vector<IndexedEnsemble>> RunIndex::Ensembles() {
  ATELIER_ASSIGN_OR_RETURN(Contents contents, Load());
  std::sort(contents.ensembles.begin(), contents.ensembles.end(),
            [](const IndexedEnsemble& a, const IndexedEnsemble& b) {
              return a.name != b.name ? a.name < b.name : a.version > b.version;
            });
  return std::move(contents.ensembles);
}

absl::StatusOr<IndexedEnsemble> RunIndex::Find(const std::string& name, int version) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<IndexedEnsemble> all, Ensembles());
  std::vector<std::string> names;
  for (const IndexedEnsemble& e : all) {
    if (e.name == name && (version == 0 ? e.promoted : e.version == version)) return e;
    names.push_back(absl::StrCat(e.name, "@", e.version));
  }
  const std::string wanted = version == 0 ? name : absl::StrCat(name, "@", version);
  return absl::NotFoundError(absl::StrCat(
      "no ensemble \"", wanted, "\": neither a run directory nor in the index, which has ",
      names.empty() ? "none yet (atelier train makes one)" : absl::StrJoin(names, ", ")));
}

absl::StatusOr<IndexedEnsemble> RunIndex::Promote(const std::string& name, int version) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<DirectoryLock> lock, LockHome(home_));
  ATELIER_ASSIGN_OR_RETURN(IndexedEnsemble found, Find(name, version));
  ATELIER_ASSIGN_OR_RETURN(Contents contents, Load());
  for (IndexedEnsemble& e : contents.ensembles) {
    if (e.name == name) e.promoted = e.version == found.version;
  }
  ATELIER_RETURN_IF_ERROR(Store(contents));
  found.promoted = true;
  return found;
}

absl::StatusOr<v1::EnsembleVersion> ReadIndexed(const IndexedEnsemble& entry) {
  const auto gone = [&entry](const std::string& why) {
    return absl::NotFoundError(absl::StrCat(entry.name, "@", entry.version, " was in ",
                                            entry.path.string(), ", which is gone", why,
                                            "; name its folder with --ensemble"));
  };
  const absl::StatusOr<RunDirectory> directory = RunDirectory::Open(entry.path);
  if (!directory.ok()) return gone("");
  ATELIER_ASSIGN_OR_RETURN(v1::EnsembleVersion version, directory->ReadEnsemble());
  // An entry without a run says nothing of whose the directory was.
  if (!entry.run_id.empty() && version.run_id() != entry.run_id) {
    return gone(absl::StrCat(" (run ", version.run_id(), " is there now)"));
  }
  return version;
}

absl::StatusOr<EnsembleName> ParseEnsembleName(const std::string& text) {
  EnsembleName parsed;
  const size_t at = text.find('@');
  parsed.name = text.substr(0, at);
  const bool version_ok =
      at == std::string::npos ||
      (absl::SimpleAtoi(text.substr(at + 1), &parsed.version) && parsed.version >= 1);
  if (!version_ok || !IsSafeName(parsed.name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" is neither a run directory nor NAME or NAME@VERSION (version from 1)"));
  }
  return parsed;
}

}  // namespace atelier::cli
