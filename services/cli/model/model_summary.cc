#include "services/cli/model/model_summary.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/nn/graph.h"
#include "common/nn/shapes.h"
#include "services/cli/export/keras_layers.h"
#include "services/cli/format.h"

namespace atelier::cli {
namespace {

constexpr int kMaxSize = 4096;

int64_t Elements(const nn::Variable& variable) {
  return std::accumulate(variable.shape.begin(), variable.shape.end(), int64_t{1},
                         std::multiplies<>());
}

BackboneRow RowOf(const nn::BackboneInfo& info, const nn::Graph& graph, int size) {
  BackboneRow row{info, nn::ParameterCount(graph), nn::TrainableParameterCount(graph), 0, size};
  if (size >= info.min_size) row.flop = nn::Flop(graph, nn::LayerShapes(graph, size, size));
  return row;
}

}  // namespace

std::vector<BackboneRow> BackboneRows(int size) {
  std::vector<BackboneRow> rows;
  for (const nn::BackboneInfo& info : nn::Backbones()) {
    const auto graph = nn::BuildBackboneGraph(info.id);
    rows.push_back(RowOf(info, *graph, size == 0 ? info.default_size : size));
  }
  return rows;
}

absl::StatusOr<ModelSummary> SummaryOf(const std::string& backbone, int size, int channels) {
  ATELIER_ASSIGN_OR_RETURN(const nn::BackboneInfo info, nn::FindBackbone(backbone));
  ATELIER_ASSIGN_OR_RETURN(const nn::Graph graph, nn::BuildBackboneGraph(backbone, channels));
  if (size == 0) size = info.default_size;
  if (size < info.min_size || size > kMaxSize) {
    return absl::InvalidArgumentError(absl::StrCat(info.id, " takes pictures of ", info.min_size,
                                                   "..", kMaxSize, " pixels, not ", size));
  }
  ModelSummary summary;
  summary.backbone = RowOf(info, graph, size);
  const std::vector<nn::LayerShape> shapes = nn::LayerShapes(graph, size, size);
  const std::vector<exporting::KerasLayer> layers = exporting::KerasLayers(graph);
  for (const exporting::KerasLayer& layer : layers) {
    const nn::LayerShape& shape = shapes[static_cast<size_t>(layer.node)];
    LayerRow row;
    row.name = layer.name;
    row.type = layer.keras_class;
    row.shape = {shape.height, shape.width, shape.channels};
    for (const int i : layer.variables) {
      row.variables.push_back(graph.variables[static_cast<size_t>(i)]);
      row.parameters += Elements(row.variables.back());
    }
    for (const int input : layer.inputs) {
      row.inputs.push_back(layers[static_cast<size_t>(input)].name);
    }
    summary.layers.push_back(std::move(row));
  }
  return summary;
}

std::string SummaryAsText(const ModelSummary& summary) {
  const BackboneRow& b = summary.backbone;
  std::vector<std::vector<std::string>> rows = {
      {"layer (type)", "output shape", "parameters", "connected to"}};
  for (const LayerRow& layer : summary.layers) {
    rows.push_back({absl::StrCat(layer.name, " (", layer.type, ")"),
                    absl::StrCat("(N, ", absl::StrJoin(layer.shape, ", "), ")"),
                    Grouped(layer.parameters), absl::StrJoin(layer.inputs, ", ")});
  }
  return absl::StrFormat(
      "%s, pictures of %d x %d\n\n%s\ntotal parameters %s, trainable %s, not trainable %s\n"
      "%.3g GFLOP a picture (2 a multiply-add)\n",
      b.info.display_name, b.size, b.size, Table(rows, {2}), Grouped(b.parameters),
      Grouped(b.trainable), Grouped(b.parameters - b.trainable), static_cast<double>(b.flop) / 1e9);
}

nlohmann::ordered_json SummaryAsJson(const ModelSummary& summary) {
  const BackboneRow& b = summary.backbone;
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerRow& layer : summary.layers) {
    nlohmann::ordered_json variables = nlohmann::ordered_json::array();
    for (const nn::Variable& v : layer.variables) {
      variables.push_back({{"name", v.name}, {"shape", v.shape}, {"keras_shape", KerasShape(v)}});
    }
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"shape", layer.shape},
                      {"parameters", layer.parameters},
                      {"inputs", layer.inputs},
                      {"variables", std::move(variables)}});
  }
  return {{"name", b.info.id},
          {"size", b.size},
          {"parameters", b.parameters},
          {"trainable_parameters", b.trainable},
          {"flop", b.flop},
          {"features", b.info.features},
          {"layers", std::move(layers)}};
}

}  // namespace atelier::cli
