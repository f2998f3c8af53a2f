// Ensemble versions: publish, promote, look up. Immutable once published.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "atelier/v1/registry.pb.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

// All of these run inside a transaction.

// Gives the version its number and stores it with references to its weights. The first version of a
// name is promoted by itself; `promoted` says whether this one is now.
absl::StatusOr<v1::EnsembleVersion> PublishInTransaction(Transaction& transaction,
                                                         v1::EnsembleVersion ensemble, bool promote,
                                                         int64_t unix_ms, bool& promoted);

// NotFound names the versions there are.
absl::StatusOr<v1::PromotedEnsemble> PromoteInTransaction(Transaction& transaction,
                                                          const std::string& name, int version,
                                                          int64_t unix_ms);

// version 0: the promoted one (name "": of the name promoted last).
absl::StatusOr<v1::EnsembleVersion> FindEnsemble(Transaction& transaction, const std::string& name,
                                                 int version);

// The promoted version of `name`; FailedPrecondition when there is none.
absl::StatusOr<v1::PromotedEnsemble> FindPromoted(Transaction& transaction,
                                                  const std::string& name);

}  // namespace atelier::coordinator
