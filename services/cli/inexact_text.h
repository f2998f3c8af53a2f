// How a person learns that a run's numbers are not to the bit those of an undisturbed one.
#pragma once

#include <string>

#include "atelier/v1/coordinator.pb.h"

namespace atelier::cli {

// A line for each task that was resumed inexactly, with the fields that differed (P3): "" for none.
std::string InexactText(const v1::Run& run);

}  // namespace atelier::cli
