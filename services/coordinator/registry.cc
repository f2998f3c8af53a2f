#include "services/coordinator/registry.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"

namespace atelier::coordinator {
namespace {

// The model name of all members together.
constexpr char kWholeEnsemble[] = "ensemble";

absl::Status CheckEnsemble(const v1::EnsembleVersion& ensemble) {
  if (!IsSafeName(ensemble.name())) {
    return absl::InvalidArgumentError(
        "ensemble.name: letters, digits, '.', '_' and '-', at most 64, first a letter or digit");
  }
  if (ensemble.members().empty() || ensemble.classes().empty()) {
    return absl::InvalidArgumentError("an ensemble needs members and classes");
  }
  if (ensemble.min_members() < 0 || ensemble.min_members() > ensemble.members_size()) {
    return absl::InvalidArgumentError(absl::StrCat("ensemble.min_members is ",
                                                   ensemble.min_members(), "; allowed: 0..",
                                                   ensemble.members_size()));
  }
  std::set<std::string> names;
  for (const v1::EnsembleMember& member : ensemble.members()) {
    // Whoever fetches the ensemble names files and models after its members.
    if (!IsSafeName(member.name()) || member.name() == kWholeEnsemble ||
        !names.insert(member.name()).second) {
      return absl::InvalidArgumentError(
          "ensemble.members: names are unique, of letters, digits, '.', '_' and '-', at most 64, "
          "first a letter or digit, and not \"ensemble\"");
    }
    if (member.model().classes() != ensemble.classes_size()) {
      return absl::FailedPreconditionError(
          absl::StrCat("member ", member.name(), " predicts ", member.model().classes(),
                       " classes, the ensemble has ", ensemble.classes_size()));
    }
  }
  return absl::OkStatus();
}

std::string VersionsOf(const std::vector<v1::EnsembleVersion>& ensembles) {
  std::string text;
  for (const v1::EnsembleVersion& ensemble : ensembles) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", ensemble.name(), "@", ensemble.version());
  }
  return text.empty() ? "none" : text;
}

}  // namespace

absl::StatusOr<v1::EnsembleVersion> PublishInTransaction(Transaction& transaction,
                                                         v1::EnsembleVersion ensemble, bool promote,
                                                         int64_t unix_ms, bool& promoted) {
  ATELIER_RETURN_IF_ERROR(CheckEnsemble(ensemble));
  ATELIER_ASSIGN_OR_RETURN(const auto existing, transaction.ListEnsembles(ensemble.name()));
  ensemble.set_version(existing.empty() ? 1 : existing.front().version() + 1);
  ensemble.set_created_unix_ms(unix_ms);
  ATELIER_RETURN_IF_ERROR(transaction.PutEnsemble(ensemble));
  const std::string owner = absl::StrCat("ensemble/", ensemble.name(), "@", ensemble.version());
  for (const v1::EnsembleMember& member : ensemble.members()) {
    ATELIER_RETURN_IF_ERROR(transaction.AddReference(member.weights_digest(), owner));
  }
  ATELIER_ASSIGN_OR_RETURN(const auto current, transaction.GetPromoted(ensemble.name()));
  promoted = promote || !current.has_value();
  if (promoted) {
    ATELIER_RETURN_IF_ERROR(transaction.SetPromoted(ensemble.name(), ensemble.version(), unix_ms));
  }
  return ensemble;
}

absl::StatusOr<v1::PromotedEnsemble> PromoteInTransaction(Transaction& transaction,
                                                          const std::string& name, int version,
                                                          int64_t unix_ms) {
  if (version <= 0) return absl::InvalidArgumentError("version: the number of a published version");
  v1::PromotedEnsemble promoted;
  ATELIER_ASSIGN_OR_RETURN(*promoted.mutable_ensemble(), FindEnsemble(transaction, name, version));
  ATELIER_RETURN_IF_ERROR(transaction.SetPromoted(name, version, unix_ms));
  promoted.set_promoted_unix_ms(unix_ms);
  return promoted;
}

absl::StatusOr<v1::EnsembleVersion> FindEnsemble(Transaction& transaction, const std::string& name,
                                                 int version) {
  ATELIER_ASSIGN_OR_RETURN(const auto ensembles, transaction.ListEnsembles(name));
  // A name's first version is promoted at once: one without a promoted version is unknown.
  if (version == 0 && (name.empty() || !ensembles.empty())) {
    ATELIER_ASSIGN_OR_RETURN(const v1::PromotedEnsemble promoted, FindPromoted(transaction, name));
    return promoted.ensemble();
  }
  for (const v1::EnsembleVersion& ensemble : ensembles) {
    if (ensemble.version() == version && ensemble.name() == name) return ensemble;
  }
  ATELIER_ASSIGN_OR_RETURN(const auto all, transaction.ListEnsembles(""));
  return absl::NotFoundError(absl::StrCat("no ensemble ", name,
                                          version == 0 ? "" : absl::StrCat("@", version),
                                          "; published: ", VersionsOf(all)));
}

absl::StatusOr<v1::PromotedEnsemble> FindPromoted(Transaction& transaction,
                                                  const std::string& name) {
  ATELIER_ASSIGN_OR_RETURN(const auto current, transaction.GetPromoted(name));
  if (!current.has_value()) {
    return absl::FailedPreconditionError(
        name.empty() ? "no ensemble version has been promoted yet"
                     : absl::StrCat("no version of ", name, " has been promoted"));
  }
  v1::PromotedEnsemble promoted;
  promoted.set_promoted_unix_ms(current->unix_ms);
  ATELIER_ASSIGN_OR_RETURN(*promoted.mutable_ensemble(),
                           FindEnsemble(transaction, current->name, current->version));
  return promoted;
}

}  // namespace atelier::coordinator
