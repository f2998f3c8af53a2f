// A recipe is YAML whose schema is v1::RunPlan: fields by their proto names, enum values by name in
// lower case. The walker goes over yaml-cpp's marks and protobuf's reflection, because the JSON
// mapping of protobuf would lose the positions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/recipe.pb.h"

namespace atelier::cli {

// `file` only names the source in messages: "my.yaml:12:5: unknown field "epoch" of StageSpec;
// known: …". InvalidArgument on unknown, repeated or mistyped fields, numbers out of range, unknown
// enum values, YAML that does not parse. Lines and columns count from 1.
absl::StatusOr<v1::RunPlan> ParseRecipe(std::string_view yaml, std::string_view file);

// "fast", "seed" or a file's path. The plan's `recipe` becomes the name (of a file: its file name).
// NotFound names the built-in ones.
absl::StatusOr<v1::RunPlan> LoadRecipe(const std::string& name_or_file);

// One of the recipes compiled into the program, sorted by name.
struct BuiltinRecipe {
  std::string_view name;
  std::string_view yaml;
};
const std::vector<BuiltinRecipe>& BuiltinRecipes();

// "batch_size=16", "stages.train.epochs=3", "stages.0.cutmix.variant=off",
// "members.xception.image.size=224": a path of field names, an element of a list by its number from
// 0 or by its `name`; the value is YAML. InvalidArgument as ParseRecipe, naming the override.
absl::Status ApplyOverride(v1::RunPlan& plan, const std::string& override_text);

// The plan as a recipe that ParseRecipe reads back to an equal plan.
std::string RecipeToYaml(const v1::RunPlan& plan);

}  // namespace atelier::cli
