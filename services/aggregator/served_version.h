// A version being served. Immutable; whoever answers a request holds it by shared_ptr, so that a
// swap never takes a member away from a request under way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "atelier/v1/model.pb.h"
#include "services/aggregator/member.h"

namespace atelier::aggregator {

struct ServedVersion {
  v1::EnsembleVersion ensemble;
  std::vector<std::shared_ptr<Member>> members;  // in the order of ensemble.members
  int min_members = 1;
};

inline std::string VersionLabel(const v1::EnsembleVersion& ensemble) {
  return absl::StrCat(ensemble.name(), "@", ensemble.version());
}

// The model's name that means all members combined; no member may have it.
constexpr char kEnsembleModel[] = "ensemble";

// Whether a version can be served at all. FailedPrecondition: members and classes do not fit, or
// the preprocessing stored with it is not what this build does (train/serve skew). InvalidArgument:
// no members or classes, repeated or unusable names.
absl::Status ValidateVersion(const v1::EnsembleVersion& ensemble);

// The version's own minimum (0: max(1, n-1)), replaced by `override_by` when > 0, within 1..n.
int MinMembers(const v1::EnsembleVersion& ensemble, int override_by);

}  // namespace atelier::aggregator
