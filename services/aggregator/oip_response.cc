#include "services/aggregator/oip_response.h"

#include <bit>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace atelier::aggregator {
namespace {

static_assert(std::endian::native == std::endian::little, "raw contents are little-endian");

constexpr char kPlatform[] = "atelier";
constexpr char kEnsemblePlatform[] = "ensemble";

void AppendBytesElement(std::string& raw, const std::string& element) {
  const auto length = static_cast<uint32_t>(element.size());
  for (int shift = 0; shift < 32; shift += 8) raw.push_back(static_cast<char>(length >> shift));
  raw.append(element);
}

void AddProbabilities(const ensemble::Probabilities& probabilities,
                      inference::ModelInferResponse& response) {
  auto& output = *response.add_outputs();
  output.set_name(kProbabilitiesOutput);
  output.set_datatype("FP32");
  output.add_shape(probabilities.rows);
  output.add_shape(probabilities.columns);
  response.add_raw_output_contents(probabilities.values.data(),
                                   probabilities.values.size() * sizeof(float));
}

void AddLabels(const std::vector<std::string>& labels, inference::ModelInferResponse& response) {
  auto& output = *response.add_outputs();
  output.set_name(kLabelOutput);
  output.set_datatype("BYTES");
  output.add_shape(static_cast<int64_t>(labels.size()));
  std::string& raw = *response.add_raw_output_contents();
  for (const std::string& label : labels) AppendBytesElement(raw, label);
}

void AddTensor(
    const char* name, const char* type, std::initializer_list<int64_t> shape,
    google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& tensors) {
  auto& tensor = *tensors.Add();
  tensor.set_name(name);
  tensor.set_datatype(type);
  for (const int64_t dim : shape) tensor.add_shape(dim);
}

void AddInput(const char* name, inference::DataType type, std::initializer_list<int64_t> dims,
              inference::ModelConfig& config) {
  inference::ModelInput& input = *config.add_input();
  input.set_name(name);
  input.set_data_type(type);
  input.set_optional(true);
  for (const int64_t dim : dims) input.add_dims(dim);
}

void AddOutput(const char* name, inference::DataType type, std::initializer_list<int64_t> dims,
               inference::ModelConfig& config) {
  inference::ModelOutput& output = *config.add_output();
  output.set_name(name);
  output.set_data_type(type);
  for (const int64_t dim : dims) output.add_dims(dim);
}

void AddSteps(const ServedModel& model, inference::ModelConfig& config) {
  for (const auto& member : model.version->members) {
    auto& step = *config.mutable_ensemble_scheduling()->add_step();
    step.set_model_name(member->spec().name());
    step.set_model_version(model.version->ensemble.version());
    for (const char* input : {kImageInput, kPixelsInput}) {
      (*step.mutable_input_map())[input] = input;
    }
    (*step.mutable_output_map())[kProbabilitiesOutput] =
        absl::StrCat(kProbabilitiesOutput, "/", member->spec().name());
  }
}

}  // namespace

inference::ModelInferResponse MakeOipResponse(const inference::ModelInferRequest& request,
                                              const OipRequest& parsed, const ServedModel& model,
                                              const Prediction& prediction) {
  inference::ModelInferResponse response;
  response.set_model_name(request.model_name());
  response.set_model_version(absl::StrCat(model.version->ensemble.version()));
  response.set_id(request.id());
  auto& parameters = *response.mutable_parameters();
  parameters["members_used"].set_string_param(absl::StrJoin(prediction.members_used, ","));
  parameters["members_failed"].set_string_param(absl::StrJoin(prediction.members_failed, ","));
  parameters["degraded"].set_bool_param(prediction.degraded);
  parameters["ensemble_version"].set_string_param(VersionLabel(model.version->ensemble));
  if (parsed.want_probabilities) AddProbabilities(prediction.probabilities, response);
  if (parsed.want_labels) AddLabels(prediction.labels, response);
  return response;
}

inference::ModelMetadataResponse MakeOipMetadata(const ServedModel& model) {
  inference::ModelMetadataResponse metadata;
  metadata.set_name(model.name);
  metadata.add_versions(absl::StrCat(model.version->ensemble.version()));
  metadata.set_platform(model.name == kEnsembleModel ? kEnsemblePlatform : kPlatform);
  const int64_t classes = model.version->ensemble.classes_size();
  AddTensor(kImageInput, "BYTES", {-1}, *metadata.mutable_inputs());
  AddTensor(kPixelsInput, "UINT8", {-1, -1, -1, 3}, *metadata.mutable_inputs());
  AddTensor(kProbabilitiesOutput, "FP32", {-1, classes}, *metadata.mutable_outputs());
  AddTensor(kLabelOutput, "BYTES", {-1}, *metadata.mutable_outputs());
  return metadata;
}

inference::ModelConfig MakeOipConfig(const ServedModel& model, int max_pictures) {
  inference::ModelConfig config;
  const v1::EnsembleVersion& ensemble = model.version->ensemble;
  config.set_name(model.name);
  config.set_backend("atelier");
  config.mutable_version_policy()->mutable_specific()->add_versions(ensemble.version());
  // 0: dims are whole shapes, as in the metadata; the batch limit is a parameter.
  config.set_max_batch_size(0);
  AddInput(kImageInput, inference::TYPE_STRING, {-1}, config);
  AddInput(kPixelsInput, inference::TYPE_UINT8, {-1, -1, -1, 3}, config);
  AddOutput(kProbabilitiesOutput, inference::TYPE_FP32, {-1, ensemble.classes_size()}, config);
  AddOutput(kLabelOutput, inference::TYPE_STRING, {-1}, config);
  auto& parameters = *config.mutable_parameters();
  parameters["max_pictures"].set_string_value(absl::StrCat(max_pictures));
  parameters["classes"].set_string_value(absl::StrJoin(ensemble.classes(), ","));
  parameters["ensemble_version"].set_string_value(VersionLabel(ensemble));
  parameters["min_members"].set_string_value(absl::StrCat(model.min_members));
  if (model.name == kEnsembleModel) {
    config.set_platform(kEnsemblePlatform);
    parameters["combination"].set_string_value("mean");
    AddSteps(model, config);
  } else {
    config.set_platform(kPlatform);
  }
  return config;
}

}  // namespace atelier::aggregator
