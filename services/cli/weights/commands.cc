#include "services/cli/weights/commands.h"

namespace atelier::cli {

void AddWeightsCommands(CLI::App& app, int* exit_code) {
  CLI::App* weights =
      app.add_subcommand("weights", "ImageNet weights: fetch, list, inspect, convert");
  weights->require_subcommand(1);
  AddWeightsFetch(*weights, exit_code);
  AddWeightsConvert(*weights, exit_code);
  AddWeightsList(*weights, exit_code);
  AddWeightsInspect(*weights, exit_code);
}

}  // namespace atelier::cli
