// `atelier weights fetch|list|inspect|convert`.
#pragma once

#include "CLI/App.hpp"

namespace atelier::cli {

// Adds the sub-command "weights" to the program. The verbs' callbacks run inside app.parse() and
// leave the process's exit code in *exit_code (services/cli/outcome.h).
void AddWeightsCommands(CLI::App& app, int* exit_code);

// Its parts.
void AddWeightsFetch(CLI::App& weights, int* exit_code);
void AddWeightsList(CLI::App& weights, int* exit_code);
void AddWeightsInspect(CLI::App& weights, int* exit_code);
void AddWeightsConvert(CLI::App& weights, int* exit_code);

}  // namespace atelier::cli
