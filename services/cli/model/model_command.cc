// atelier model: the backbones there are, what is in them, what they answer.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/model/model_commands.h"
#include "services/cli/model/model_summary.h"
#include "services/cli/run_json.h"
#include "services/cli/weights/store.h"

namespace atelier::cli {
namespace {

// "cached", "to fetch", or "none": then only a user's own file will do.
std::string WeightsAtHand(const nn::BackboneInfo& info) {
  if (HaveWeights(info.id)) return "cached";
  return CanFetchWeights(info.id) ? "to fetch" : "none";
}

int List(int size, bool json) {
  Json document = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"name", "parameters", "GFLOP", "at", "default", "least", "features", "weights"}};
  for (const BackboneRow& row : BackboneRows(size)) {
    const std::string weights = WeightsAtHand(row.info);
    document.push_back({{"name", row.info.id},
                        {"display_name", row.info.display_name},
                        {"parameters", row.parameters},
                        {"trainable_parameters", row.trainable},
                        {"flop", row.flop},
                        {"flop_size", row.size},
                        {"default_size", row.info.default_size},
                        {"min_size", row.info.min_size},
                        {"features", row.info.features},
                        {"weights", weights}});
    table.push_back(
        {row.info.id, Grouped(row.parameters),
         row.flop == 0 ? "-" : absl::StrFormat("%.3g", static_cast<double>(row.flop) / 1e9),
         absl::StrCat(row.size, " px"), absl::StrCat(row.info.default_size, " px"),
         absl::StrCat(row.info.min_size, " px"), absl::StrCat(row.info.features), weights});
  }
  if (json) {
    PrintJson(document);
  } else {
    std::fputs(Table(table, {1, 2, 3, 4, 5, 6}).c_str(), stdout);
    std::fputs("GFLOP a picture, 2 a multiply-add. Weights: `atelier weights fetch NAME`.\n",
               stdout);
  }
  return kDone;
}

struct ShowOptions {
  std::string name;
  int size = 0;
  int channels = 3;
  bool json = false;
};

int Show(const ShowOptions& options) {
  const auto summary = SummaryOf(options.name, options.size, options.channels);
  if (!summary.ok()) return Misuse(summary.status());
  if (options.json) {
    PrintJson(SummaryAsJson(*summary));
  } else {
    std::fputs(SummaryAsText(*summary).c_str(), stdout);
  }
  return kDone;
}

void AddList(CLI::App& model, Context& context) {
  CLI::App* verb = AddVerb(model, "list", "Every backbone: size, cost, weights at hand",
                           "  atelier model list\n  atelier model list --size 200");
  auto size = std::make_shared<int>(0);
  auto json = std::make_shared<bool>(false);
  verb->add_option("--size", *size, "Pixels a side for the cost; by default each its own")
      ->check(CLI::Range(1, 4096));
  verb->add_flag("--json", *json, "One JSON document on standard output");
  verb->callback([size, json, &context] { context.exit_code = List(*size, *json); });
}

void AddShow(CLI::App& model, Context& context) {
  CLI::App* verb = AddVerb(model, "show", "A backbone layer by layer, as Keras' summary does",
                           "  atelier model show xception\n"
                           "  atelier model show efficientnet_b4 --size 200 --json");
  auto options = std::make_shared<ShowOptions>();
  verb->add_option("NAME", options->name, "A backbone of `atelier model list`")->required();
  verb->add_option("--size", options->size, "Pixels a side; by default those of its weights");
  verb->add_option("--channels", options->channels, "3 (RGB) or 1 (grey)");
  verb->add_flag("--json", options->json, "One JSON document on standard output");
  verb->callback([options, &context] { context.exit_code = Show(*options); });
}

}  // namespace

void AddModelCommands(CLI::App& app, Context& context) {
  CLI::App* model =
      app.add_subcommand("model", "Backbones: list, show, forward, check against Keras");
  model->require_subcommand(1);
  AddList(*model, context);
  AddShow(*model, context);
  AddModelForward(*model, context);
  AddModelCheck(*model, context);
}

}  // namespace atelier::cli
