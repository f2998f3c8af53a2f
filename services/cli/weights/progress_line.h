// Progress of fetching on standard error.
#pragma once

#include <string>

#include "services/cli/weights/fetch_options.h"

namespace atelier::cli {

// `prefix` stands before every line ("atelier: "). On a terminal transient lines overwrite one
// another; elsewhere one is printed every few seconds.
WeightsProgress PrintWeightsProgress(const std::string& prefix);

}  // namespace atelier::cli
