// What every verb is given, and how it ends. One file per verb: <verb>_command.cc adds a
// sub-command whose callback runs inside app.parse() and leaves its code in Context::exit_code.
#pragma once

#include <string>
#include <string_view>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "services/cli/interrupt.h"

namespace atelier::cli {

// The process's exit codes (fixed: scripts rely on them).
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;
inline constexpr int kInterrupted = 130;

struct Context {
  Interrupt& interrupt;
  int exit_code = kDone;
};

// "atelier: text" on standard error.
void Say(std::string_view text);
// Says the error and gives kFailed.
int Fail(const absl::Status& status);
// For what the user typed wrongly (recipe, --set, a name): kWrongUsage.
int Misuse(const absl::Status& status);

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
