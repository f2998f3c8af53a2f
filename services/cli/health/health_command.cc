// atelier health HOST:PORT: whether a service serves (grpc.health.v1).
#include <cstdio>

#include "services/cli/command.h"
#include "services/cli/health/probe.h"

namespace atelier::cli {
namespace {

int Health(const std::string& address) {
  const absl::StatusOr<bool> serving = ProbeHealth(address);
  if (!serving.ok()) return Fail(serving.status());
  std::fputs(HealthLine(address, *serving).c_str(), stdout);
  return *serving ? kDone : kFailed;
}

}  // namespace

void AddHealthCommand(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(app, "health", "Ask a service whether it serves (exit code 0 or 1)",
                           "  atelier health 127.0.0.1:7070");
  auto address = std::make_shared<std::string>();
  verb->add_option("address", *address, "Any of the four services; https:// is TLS")
      ->required()
      ->type_name("HOST:PORT");
  verb->callback([address, &context] { context.exit_code = Health(*address); });
}

}  // namespace atelier::cli
