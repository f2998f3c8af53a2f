// What every verb is given. One file per verb: <verb>_command.cc adds a
// sub-command whose callback runs inside app.parse() and leaves its code in Context::exit_code.
#pragma once

#include <string>

#include "CLI/App.hpp"
#include "services/cli/interrupt.h"
#include "services/cli/outcome.h"

namespace atelier::cli {

struct Context {
  Interrupt& interrupt;
  int exit_code = kDone;
};

// Adds a sub-command with a description and, below its options, worked examples.
CLI::App* AddVerb(CLI::App& app, const std::string& name, const std::string& description,
                  const std::string& examples);

void AddTrainCommand(CLI::App& app, Context& context);
void AddEvaluateCommand(CLI::App& app, Context& context);
void AddPredictCommand(CLI::App& app, Context& context);
void AddServeCommand(CLI::App& app, Context& context);
void AddDataCommands(CLI::App& app, Context& context);
void AddRunsCommands(CLI::App& app, Context& context);
void AddEnsemblesCommands(CLI::App& app, Context& context);
void AddModelCommands(CLI::App& app, Context& context);
void AddHealthCommand(CLI::App& app, Context& context);
void AddVersionCommand(CLI::App& app, Context& context);

}  // namespace atelier::cli
