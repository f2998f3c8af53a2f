// atelier health HOST:PORT: what container health checks run (grpc.health.v1).
#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/rpc/health.h"
#include "services/cli/command.h"

namespace atelier::cli {
namespace {

constexpr std::chrono::seconds kDeadline{5};

int Health(const std::string& address) {
  const absl::StatusOr<bool> serving = rpc::AskHealth(address, kDeadline);
  if (!serving.ok()) {
    return Fail(absl::UnavailableError(
        absl::StrCat(address, ": ", std::string(serving.status().message()))));
  }
  std::printf("%s %s\n", address.c_str(), *serving ? "SERVING" : "NOT_SERVING");
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
