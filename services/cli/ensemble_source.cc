#include "services/cli/ensemble_source.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/outcome.h"
#include "services/cli/run_directory.h"
#include "services/cli/run_index.h"
#include "services/coordinator/client.h"

namespace atelier::cli {
namespace {

absl::StatusOr<ServableEnsemble> FromDirectory(const std::filesystem::path& path) {
  ATELIER_ASSIGN_OR_RETURN(const RunDirectory directory, RunDirectory::Open(path));
  ATELIER_ASSIGN_OR_RETURN(v1::EnsembleVersion version, directory.ReadEnsemble());
  return ServableEnsemble{std::move(version), directory.path(), ""};
}

absl::StatusOr<ServableEnsemble> FromIndex(const std::string& what) {
  RunIndex index(AtelierHome());
  std::string name = what;
  if (what.empty()) {
    ATELIER_ASSIGN_OR_RETURN(const std::vector<IndexedEnsemble> all, index.Ensembles());
    std::set<std::string> names;
    for (const IndexedEnsemble& e : all) names.insert(e.name);
    if (names.empty()) {
      return absl::NotFoundError(
          "no ensemble yet: atelier train makes one; or name a run directory with --ensemble");
    }
    if (names.size() > 1) {
      return WrongUsage(absl::InvalidArgumentError(
          absl::StrCat("say which with --ensemble: ", absl::StrJoin(names, ", "))));
    }
    name = *names.begin();
  }
  ATELIER_ASSIGN_OR_RETURN(const EnsembleName parsed, WrongUsage(ParseEnsembleName(name)));
  ATELIER_ASSIGN_OR_RETURN(const IndexedEnsemble found, index.Find(parsed.name, parsed.version));
  ATELIER_ASSIGN_OR_RETURN(v1::EnsembleVersion version, ReadIndexed(found));
  return ServableEnsemble{std::move(version), found.path, ""};
}

absl::StatusOr<ServableEnsemble> FromRegistry(const std::string& what,
                                              const std::string& coordinator) {
  const auto channel = rpc::MakeTcpChannelFactory()->Connect(coordinator);
  v1::EnsembleVersion version;
  const absl::StatusOr<v1::Run> run = what.empty() || what.find('@') != std::string::npos
                                          ? absl::StatusOr<v1::Run>(absl::NotFoundError(""))
                                          : coordinator::RunClient::Create(channel)->Get(what);
  if (run.ok()) {
    if (!run->has_ensemble()) {
      return absl::FailedPreconditionError(absl::StrCat("run ", what,
                                                        " has no ensemble yet: atelier runs watch ",
                                                        what, " --coordinator ", coordinator));
    }
    version = run->ensemble();
  } else {
    EnsembleName parsed;
    if (!what.empty()) {
      ATELIER_ASSIGN_OR_RETURN(parsed, WrongUsage(ParseEnsembleName(what)));
    }
    ATELIER_ASSIGN_OR_RETURN(version, coordinator::RegistryClient::Create(channel)->GetEnsemble(
                                          parsed.name, parsed.version));
  }
  return ServableEnsemble{std::move(version), {}, coordinator};
}

}  // namespace

absl::StatusOr<ServableEnsemble> ResolveEnsemble(const std::string& what,
                                                 const std::string& coordinator) {
  if (!what.empty() && RunDirectory::IsRunDirectory(what)) return FromDirectory(what);
  std::error_code error;
  if (!what.empty() && what.find('/') != std::string::npos) {
    return absl::NotFoundError(absl::StrCat(
        what, std::filesystem::exists(what, error) ? " is no run directory" : " is not there",
        "; --ensemble takes a run directory, NAME or NAME@VERSION"));
  }
  return coordinator.empty() ? FromIndex(what) : FromRegistry(what, coordinator);
}

}  // namespace atelier::cli
