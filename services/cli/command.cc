#include "services/cli/command.h"

#include <cstdio>

#include "absl/strings/str_cat.h"

namespace atelier::cli {

void Say(std::string_view text) {
  const std::string line = absl::StrCat("atelier: ", std::string(text), "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int Fail(const absl::Status& status) {
  Say(absl::StrCat("error: ", std::string(status.message())));
  return kFailed;
}

int Misuse(const absl::Status& status) {
  Say(absl::StrCat("error: ", std::string(status.message())));
  return kWrongUsage;
}

CLI::App* AddVerb(CLI::App& app, const std::string& name, const std::string& description,
                  const std::string& examples) {
  CLI::App* verb = app.add_subcommand(name, description);
  if (!examples.empty()) verb->footer("Examples:\n" + examples);
  return verb;
}

}  // namespace atelier::cli
