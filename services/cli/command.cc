#include "services/cli/command.h"

namespace atelier::cli {

CLI::App* AddVerb(CLI::App& app, const std::string& name, const std::string& description,
                  const std::string& examples) {
  CLI::App* verb = app.add_subcommand(name, description);
  if (!examples.empty()) verb->footer("Examples:\n" + examples);
  return verb;
}

}  // namespace atelier::cli
