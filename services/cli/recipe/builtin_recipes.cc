#include "services/cli/recipe/recipe.h"

namespace atelier::cli {

// Generated from the *.yaml beside this file.
extern const std::string_view kRecipeFast;
extern const std::string_view kRecipeSeed;

const std::vector<BuiltinRecipe>& BuiltinRecipes() {
  static const auto& recipes =
      *new std::vector<BuiltinRecipe>{{"fast", kRecipeFast}, {"seed", kRecipeSeed}};
  return recipes;
}

}  // namespace atelier::cli
