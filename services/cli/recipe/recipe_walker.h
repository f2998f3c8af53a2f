// YAML node -> protobuf message by reflection, with positions in every message.
#pragma once

#include <google/protobuf/message.h>
#include <yaml-cpp/yaml.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace atelier::cli {

// Fills `message` from a map; fields not named keep their values. `file` begins every message.
absl::Status FillMessage(const YAML::Node& node, const std::string& file,
                         google::protobuf::Message& message);

// Sets one field of `message` (a whole list when it is repeated).
absl::Status FillField(const YAML::Node& node, const std::string& file,
                       const google::protobuf::FieldDescriptor& field,
                       google::protobuf::Message& message);

// A user's text as errors repeat it: not more of it than a person reads.
std::string Shortened(std::string_view text);

// "a, b, c": names of the fields of a message type.
std::string FieldNames(const google::protobuf::Descriptor& type);

}  // namespace atelier::cli
