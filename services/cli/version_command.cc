// atelier version: what it is made of.
#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>

#include "common/nn/runtime.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

void Print(bool json) {
  const std::string protobuf = google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION);
  const std::vector<std::pair<std::string, std::string>> versions = {
      {"atelier", ATELIER_VERSION}, {"libtorch", nn::TorchVersion()},
      {"grpc", grpc::Version()},    {"opencv", ATELIER_OPENCV_VERSION},
      {"protobuf", protobuf},       {"isa", nn::IsaName()}};
  Json document = Json::object();
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, version] : versions) {
    document[name] = version;
    rows.push_back({name, version});
  }
  if (json) {
    PrintJson(document);
  } else {
    std::fputs(Table(rows).c_str(), stdout);
  }
}

}  // namespace

void AddVersionCommand(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(app, "version", "Versions of Atelier and its libraries", "");
  auto json = std::make_shared<bool>(false);
  verb->add_flag("--json", *json, "One JSON document on standard output");
  verb->callback([json, &context] {
    Print(*json);
    context.exit_code = kDone;
  });
}

}  // namespace atelier::cli
