// Which trainers to ask for a member, in which order. Pure; thread-safe.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "atelier/v1/fleet_service.pb.h"

namespace atelier::aggregator {

// Addresses of the trainers that hold `backbone` and are not draining. Idle ones come before busy
// ones, and among equals a rendezvous hash of the weights decides: the same member goes to the same
// trainer, whose cache then has it, and the members spread over the fleet. `suspects` (addresses
// that were silent lately) come last.
std::vector<std::string> ChooseTrainers(const v1::ListFleetResponse& fleet,
                                        const std::string& backbone,
                                        const std::string& weights_digest,
                                        const std::set<std::string>& suspects);

}  // namespace atelier::aggregator
