// The documents that scripts read: exact names and shapes are DESIGN's "Fixed contracts".
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "atelier/v1/coordinator.pb.h"

namespace atelier::cli {

using Json = nlohmann::ordered_json;

// A proto as people and scripts read it: proto field names, zeros printed, indented.
std::string ProtoToJson(const google::protobuf::Message& message);
// InvalidArgument with the position when it is not such a document.
absl::Status ProtoFromJson(const std::string& text, google::protobuf::Message& message);

// {"run_id", "name", "state", "recipe", "created_unix_ms", …, "tasks":[{member, stage, state,
// attempts:[{trainer, start_epoch, start_step, end_epoch, end_step, end}]}], "ensemble",
// "metrics"}.
Json RunToJson(const v1::Run& run);
// Whether the confusion matrix of so many classes is there; above 1,000 it is left out.
bool HasConfusion(const v1::EnsembleMetrics& metrics, int classes);
// {"classes", "images", "ensemble":{accuracy, log_loss, confusion, accuracy_low, accuracy_high},
// "members":{NAME:{accuracy, log_loss}}}. `confusion` is empty when the matrix is left out.
Json MetricsToJson(const v1::EnsembleMetrics& metrics, const std::vector<std::string>& classes);
// {"name", "version", "classes", "members":[…], "run_id", …}.
Json EnsembleToJson(const v1::EnsembleVersion& ensemble);

// "waiting", "running", …
std::string StateName(v1::TaskState state);
std::string StateName(v1::RunState state);
std::string EndName(v1::AttemptEnd end);

// One document on standard output.
void PrintJson(const Json& json);

}  // namespace atelier::cli
