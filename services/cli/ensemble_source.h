// --ensemble RUN | NAME | NAME@VERSION, locally or from a coordinator's registry.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "services/cli/embedded.h"

namespace atelier::cli {

// With `coordinator` empty: a run directory, else a name in this user's index. With a coordinator:
// a run's id or a name in its registry; a run directory that is here is taken as it is. `what`
// empty: the promoted version of the one name there is. NotFound and InvalidArgument say what there
// is.
absl::StatusOr<ServableEnsemble> ResolveEnsemble(const std::string& what,
                                                 const std::string& coordinator);

}  // namespace atelier::cli
