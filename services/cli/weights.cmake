# Included by services/cli/CMakeLists.txt: the weights cache and its verbs. No torch, no gRPC.
atelier_library(cli_weights
  SOURCES
    weights_catalogue.cc
    weights_commands.cc
    weights_process.cc
    weights_store.cc
  DEPS atelier::base atelier::safetensors CLI11::CLI11 absl::status absl::statusor absl::strings
       absl::str_format nlohmann_json::nlohmann_json)
