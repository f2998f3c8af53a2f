// The verb `atelier weights export`.
#pragma once

#include "CLI/App.hpp"
#include "services/cli/command.h"

namespace atelier::cli {

// Adds it to the sub-command "weights", which must be there.
void AddWeightsExport(CLI::App& app, Context& context);

}  // namespace atelier::cli
