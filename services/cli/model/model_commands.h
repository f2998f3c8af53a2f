// The verbs `atelier model list|show|forward|check`: one file each, put together by
// model_command.cc.
#pragma once

#include "CLI/App.hpp"
#include "services/cli/command.h"

namespace atelier::cli {

void AddModelForward(CLI::App& model, Context& context);
void AddModelCheck(CLI::App& model, Context& context);

}  // namespace atelier::cli
