#include "services/cli/recipe/recipe.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  namespace cli = atelier::cli;
  const std::string_view bytes = atelier::fuzz::Bytes(data, size);
  const auto plan = cli::ParseRecipe(bytes, "fuzz.yaml");
  atelier::fuzz::CheckRefusal(plan.status());
  if (!plan.ok()) return 0;
  const std::string yaml = cli::RecipeToYaml(*plan);
  const auto again = cli::ParseRecipe(yaml, "again.yaml");
  Check(again.ok() && again->SerializeAsString() == plan->SerializeAsString(),
        "a plan reads back equal from its own YAML");
  // The rest of the first line as an override of what was read.
  auto overridden = *plan;
  const std::string line(bytes.substr(0, bytes.find('\n')));
  atelier::fuzz::CheckRefusal(cli::ApplyOverride(overridden, line));
  return 0;
}
