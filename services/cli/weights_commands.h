// The verbs `atelier weights fetch|list|inspect|convert`.
#pragma once

#include "CLI/App.hpp"

namespace atelier::cli {

// Adds the sub-command "weights" with its verbs to `app`. A verb runs as the sub-command's
// callback, i.e. inside app.parse(), and leaves its exit code (0 done, 1 failed, 2 wrong usage) in
// `*exit_code`, which must outlive the parse. Results go to standard output (with --json one
// document), progress and errors to standard error.
void AddWeightsCommands(CLI::App& app, int* exit_code);

}  // namespace atelier::cli
