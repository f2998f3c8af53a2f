#include "services/aggregator/served_version.h"

#include <algorithm>
#include <set>

#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/ensemble/preprocessing_digest.h"

namespace atelier::aggregator {
namespace {

constexpr int kMinSize = 16;
constexpr int kMaxSize = 1024;

absl::Status ValidateMember(const v1::EnsembleMember& member, int classes) {
  if (!IsSafeName(member.name()) || member.name() == kEnsembleModel) {
    return absl::InvalidArgumentError(
        "a member's name must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ and not be \"ensemble\"");
  }
  if (!IsSha256Hex(member.weights_digest())) {
    return absl::InvalidArgumentError(absl::StrCat(member.name(), " has no weights digest"));
  }
  if (member.model().classes() != classes) {
    return absl::FailedPreconditionError(absl::StrCat(member.name(), " predicts ",
                                                      member.model().classes(),
                                                      " classes, the ensemble has ", classes));
  }
  const v1::ImageSpec& image = member.model().image();
  if (image.size() < kMinSize || image.size() > kMaxSize ||
      (image.channels() != 0 && image.channels() != 1 && image.channels() != 3)) {
    return absl::InvalidArgumentError(absl::StrCat(member.name(), ": size ", image.size(), " with ",
                                                   image.channels(), " channels; expected ",
                                                   kMinSize, "..", kMaxSize, " with 1 or 3"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateVersion(const v1::EnsembleVersion& ensemble) {
  if (ensemble.members().empty() || ensemble.classes().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("an ensemble needs members and classes; this one has ",
                     ensemble.members_size(), " and ", ensemble.classes_size()));
  }
  std::set<std::string> names;
  for (const v1::EnsembleMember& member : ensemble.members()) {
    ATELIER_RETURN_IF_ERROR(ValidateMember(member, ensemble.classes_size()));
    if (!names.insert(member.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat("two members are called ", member.name()));
    }
  }
  if (ensemble.combination() != v1::COMBINATION_UNSPECIFIED && ensemble.combination() != v1::MEAN) {
    return absl::FailedPreconditionError(
        absl::StrCat("this build cannot combine by method ", ensemble.combination()));
  }
  const std::string digest = ensemble::PreprocessingDigest(ensemble);
  if (ensemble.preprocessing_digest() != digest) {
    return absl::FailedPreconditionError(absl::StrCat(
        "preprocessing digest ", ensemble.preprocessing_digest(),
        " was stored, this build computes ", digest,
        ": pictures would be prepared otherwise than in training; serve it with the build "
        "that trained it, or train again"));
  }
  return absl::OkStatus();
}

int MinMembers(const v1::EnsembleVersion& ensemble, int override_by) {
  const int n = ensemble.members_size();
  const int own = ensemble.min_members() > 0 ? ensemble.min_members() : std::max(1, n - 1);
  return std::clamp(override_by > 0 ? override_by : own, 1, n);
}

}  // namespace atelier::aggregator
