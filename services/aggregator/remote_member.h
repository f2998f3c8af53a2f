// A member predicted by trainers: the first that answers, within the request's deadline.
#pragma once

#include <memory>

#include "services/aggregator/member.h"
#include "services/aggregator/trainer_directory.h"

namespace atelier::aggregator {

// `directory` outlives the member. While another trainer or the fallback remains, a trainer gets
// half of the remaining time; one whose stream broke is asked once more, after the others.
// `fallback` (may be null: none) is asked when no trainer answered. Trainers that were silent
// lately are asked last, and with a fallback not at all. Errors: Unavailable when nobody holds the
// backbone or answered; a trainer's own refusal otherwise.
std::shared_ptr<Member> MakeRemoteMember(const v1::EnsembleMember& spec,
                                         TrainerDirectory& directory,
                                         std::shared_ptr<Member> fallback);

// Whether another trainer, or the same one later, may do better: the peer is gone, late or busy, as
// opposed to weights that do not fit or are damaged.
bool IsTransient(const absl::Status& status);

}  // namespace atelier::aggregator
