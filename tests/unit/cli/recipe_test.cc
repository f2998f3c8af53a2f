#include "services/cli/recipe/recipe.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kSmall[] =
    "members:\n"
    "  - {name: a, backbone: tiny_cnn}\n"
    "image: {size: 64, filter: area}\n"
    "stages:\n"
    "  - name: train\n"
    "    epochs: 2\n"
    "    optimizer: {learning_rate: 0.001}\n";

TEST(ParseRecipeTest, ReadsNestedFieldsListsAndEnums) {
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, ParseRecipe(kSmall, "r.yaml"));
  EXPECT_EQ(plan.members(0).backbone(), "tiny_cnn");
  EXPECT_EQ(plan.image().size(), 64);
  EXPECT_EQ(plan.image().filter(), v1::AREA);
  EXPECT_FLOAT_EQ(plan.stages(0).optimizer().learning_rate(), 0.001F);
}

TEST(ParseRecipeTest, NamesAnUnknownFieldWithLineColumnAndTheKnownOnes) {
  EXPECT_THAT(ParseRecipe("stages:\n  - name: train\n    epoch: 3\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("r.yaml:3:5: unknown field \"epoch\" of StageSpec"),
                             HasSubstr("epochs"))));
}

TEST(ParseRecipeTest, NamesAMistypedNumberAtItsValue) {
  EXPECT_THAT(ParseRecipe("batch_size: many\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("r.yaml:1:13:"), HasSubstr("whole number"))));
  EXPECT_THAT(ParseRecipe("batch_size: 1.5\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("r.yaml:1:13:")));
}

TEST(ParseRecipeTest, RefusesNumbersOutOfTheFieldsRange) {
  EXPECT_THAT(ParseRecipe("batch_size: 99999999999\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2147483647")));
  EXPECT_THAT(ParseRecipe("seed: -1\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("r.yaml:1:7:")));
  EXPECT_THAT(ParseRecipe("head: {dropout: .inf}\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a number")));
}

TEST(ParseRecipeTest, ListsTheEnumsValues) {
  EXPECT_THAT(ParseRecipe("image:\n  filter: bicubic\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("r.yaml:2:11:"), HasSubstr("nearest, bilinear, area"))));
}

TEST(ParseRecipeTest, TakesEnumNamesInLowerCaseOnly) {
  EXPECT_THAT(ParseRecipe("image: {filter: AREA}\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("r.yaml:1:17:")));
}

TEST(ParseRecipeTest, RefusesAFieldGivenTwice) {
  EXPECT_THAT(ParseRecipe("seed: 1\nseed: 2\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
}

TEST(ParseRecipeTest, RefusesAMapWhereAListBelongs) {
  EXPECT_THAT(ParseRecipe("stages: {name: train}\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("r.yaml:1:9:"), HasSubstr("a list"))));
}

TEST(ParseRecipeTest, SaysWhereTheYamlItselfIsBroken) {
  EXPECT_THAT(ParseRecipe("seed: 1\nstages: [\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("r.yaml:")));
}

// Of all characters yaml-cpp only looks at the first bytes.
TEST(ParseRecipeTest, RefusesTextInAnotherEncoding) {
  EXPECT_THAT(ParseRecipe("stages:\n  - name: \xca!!str 1\n", "r.yaml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("r.yaml:2:11: name"), HasSubstr("UTF-8"))));
}

TEST(ParseRecipeTest, RefusesCharactersThatCannotBeWrittenBack) {
  for (const char* name : {"\xef\xbf\xbf", "a\xef\xb7\x90", "\xf0\x9f\xbf\xbe"}) {
    EXPECT_THAT(ParseRecipe(absl::StrCat("stages: [{name: ", name, "}]"), "r.yaml"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("r.yaml:1:17: name has")));
  }
  EXPECT_TRUE(ParseRecipe("stages: [{name: \xea\xb7\xb8\xeb\xa6\xbc \xf0\x9f\x8e\xa8}]", "r").ok());
}

TEST(ParseRecipeTest, RefusesAnEmptyDocument) {
  EXPECT_THAT(ParseRecipe("", "r.yaml"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(LoadRecipeTest, NamesTheBuiltInOnes) {
  EXPECT_THAT(LoadRecipe("slow"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("fast, seed")));
}

TEST(LoadRecipeTest, ReadsAFileAndKeepsItsName) {
  const testing::TempDir dir;
  std::ofstream(dir.path() / "mine.yaml") << kSmall;
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, LoadRecipe((dir.path() / "mine.yaml").string()));
  EXPECT_EQ(plan.recipe(), "mine.yaml");
}

TEST(BuiltinRecipesTest, AllParse) {
  for (const BuiltinRecipe& recipe : BuiltinRecipes()) {
    EXPECT_THAT(LoadRecipe(std::string(recipe.name)), IsOk()) << recipe.name;
  }
}

// RECIPE.md's tables, item by item.
TEST(BuiltinRecipesTest, SeedHasTheNotebooksCommonValues) {
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, LoadRecipe("seed"));
  EXPECT_EQ(plan.recipe(), "seed");
  ASSERT_EQ(plan.members_size(), 3);
  EXPECT_EQ(plan.members(0).backbone(), "efficientnet_b4");
  EXPECT_EQ(plan.members(1).backbone(), "xception");
  EXPECT_EQ(plan.members(2).backbone(), "densenet201");
  EXPECT_EQ(plan.image().size(), 200);
  EXPECT_EQ(plan.image().filter(), v1::NEAREST);
  EXPECT_EQ(plan.image().channels(), 3);
  EXPECT_EQ(plan.scaling(), v1::NOTEBOOK);
  EXPECT_EQ(plan.head().hidden_units(), 512);
  EXPECT_FLOAT_EQ(plan.head().dropout(), 0.5F);
  EXPECT_FLOAT_EQ(plan.head().l2(), 1e-3F);
  EXPECT_EQ(plan.batch_size(), 20);
  EXPECT_DOUBLE_EQ(plan.validation_fraction(), 0.10);
  EXPECT_EQ(plan.seed(), 42U);
  EXPECT_EQ(plan.time_zone(), "Asia/Seoul");
  for (const v1::StageSpec& stage : plan.stages()) {
    EXPECT_TRUE(stage.schedule().reduce_on_plateau());
    EXPECT_FLOAT_EQ(stage.schedule().factor(), 0.5F);
    EXPECT_FLOAT_EQ(stage.schedule().min_lr(), 1e-6F);
    EXPECT_FLOAT_EQ(stage.schedule().min_delta(), 1e-4F);
    EXPECT_EQ(stage.schedule().patience(), stage.early_stopping_patience() / 2);
    EXPECT_TRUE(stage.augmentation().horizontal_flip());
    EXPECT_EQ(stage.cutmix().variant(), v1::CutMixSpec::NOTEBOOK);
    EXPECT_EQ(stage.label_smoothing(), 0);
  }
}

TEST(BuiltinRecipesTest, SeedHasTheNotebooksThreeStages) {
  ASSERT_OK_AND_ASSIGN(const v1::RunPlan plan, LoadRecipe("seed"));
  ASSERT_EQ(plan.stages_size(), 3);
  const v1::StageSpec& train = plan.stages(0);
  EXPECT_EQ(train.name(), "train");
  EXPECT_EQ(train.epochs(), 100);
  EXPECT_EQ(train.early_stopping_patience(), 10);
  EXPECT_FLOAT_EQ(train.optimizer().learning_rate(), 1e-4F);
  EXPECT_FLOAT_EQ(train.augmentation().brightness_min(), 0.6F);
  EXPECT_FLOAT_EQ(train.augmentation().brightness_max(), 1.4F);
  EXPECT_TRUE(train.augmentation().brightness_stretch());
  EXPECT_EQ(train.augmentation().rotation_degrees(), 0);
  EXPECT_FALSE(train.undersample());
  const v1::StageSpec& retrain = plan.stages(1);
  EXPECT_EQ(retrain.name(), "retrain");
  EXPECT_EQ(retrain.epochs(), 30);
  EXPECT_FLOAT_EQ(retrain.optimizer().learning_rate(), 1e-5F);
  EXPECT_FLOAT_EQ(retrain.augmentation().rotation_degrees(), 15);
  EXPECT_FLOAT_EQ(retrain.augmentation().shear_degrees(), 0.1F);
  EXPECT_FLOAT_EQ(retrain.augmentation().zoom(), 0.2F);
  EXPECT_TRUE(retrain.undersample());
  const v1::StageSpec& full = plan.stages(2);
  EXPECT_EQ(full.name(), "full_data");
  EXPECT_EQ(full.epochs(), 10);
  EXPECT_EQ(full.early_stopping_patience(), 6);
  EXPECT_FLOAT_EQ(full.optimizer().learning_rate(), 1e-4F);
  EXPECT_TRUE(full.augmentation().vertical_flip());
  EXPECT_EQ(full.augmentation().brightness_max(), 0);
  EXPECT_TRUE(full.all_data());
}

TEST(ApplyOverrideTest, ReachesNestedFieldsAndListElementsByNameAndNumber) {
  ASSERT_OK_AND_ASSIGN(v1::RunPlan plan, LoadRecipe("seed"));
  ASSERT_THAT(ApplyOverride(plan, "batch_size=16"), IsOk());
  ASSERT_THAT(ApplyOverride(plan, "stages.retrain.epochs=3"), IsOk());
  ASSERT_THAT(ApplyOverride(plan, "stages.0.cutmix.variant=off"), IsOk());
  ASSERT_THAT(ApplyOverride(plan, "classes=[b, a]"), IsOk());
  EXPECT_EQ(plan.batch_size(), 16);
  EXPECT_EQ(plan.stages(1).epochs(), 3);
  EXPECT_EQ(plan.stages(0).cutmix().variant(), v1::CutMixSpec::OFF);
  EXPECT_EQ(plan.classes(0), "b");
}

TEST(ApplyOverrideTest, NamesWhatIsWrong) {
  ASSERT_OK_AND_ASSIGN(v1::RunPlan plan, LoadRecipe("seed"));
  EXPECT_THAT(ApplyOverride(plan, "batch=16"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("--set batch=16"), HasSubstr("batch_size"))));
  EXPECT_THAT(ApplyOverride(plan, "stages.warm.epochs=3"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("train, retrain, full_data")));
  EXPECT_THAT(ApplyOverride(plan, "batch_size"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ApplyOverride(plan, "seed.x=1"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ApplyOverrideTest, RepeatsOnlyTheBeginningOfALongText) {
  auto plan = *LoadRecipe("fast");
  const std::string text(100'000, 'x');
  for (const std::string& override_text :
       {text, text + "=1", "stages." + text + "=1", "epochs." + text + "=1", "batch_size=" + text,
        "stages.0={" + text + ": 1}"}) {
    const absl::Status status = ApplyOverride(plan, override_text);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("xxx...")));
    EXPECT_LT(status.message().size(), 1'000);
  }
}

TEST(RecipeToYamlTest, ReadsBackToTheSamePlan) {
  for (const BuiltinRecipe& recipe : BuiltinRecipes()) {
    ASSERT_OK_AND_ASSIGN(v1::RunPlan plan, LoadRecipe(std::string(recipe.name)));
    plan.add_classes("a \"quoted\": class");
    plan.add_classes("yes");
    ASSERT_OK_AND_ASSIGN(const v1::RunPlan again, ParseRecipe(RecipeToYaml(plan), "again.yaml"));
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(plan, again))
        << RecipeToYaml(plan);
  }
}

}  // namespace
}  // namespace atelier::cli
