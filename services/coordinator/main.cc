// atelier-coordinator: runs, tasks, leases, registry.
#include <CLI/CLI.hpp>

#include "common/rpc/service_main.h"
#include "services/coordinator/service.h"

namespace {

// Calls are short; streams do not end by themselves and reconnect.
constexpr std::chrono::seconds kGrace{1};

}  // namespace

int main(int argc, char** argv) {
  using atelier::coordinator::CoordinatorOptions;
  using atelier::coordinator::CoordinatorServer;

  CLI::App app(
      "Atelier's coordinator: turns runs into tasks, leases them to trainers, keeps checkpoints, "
      "weights and ensemble versions.");
  CoordinatorOptions options;
  std::string state = "atelier-state";
  int lease_ms = 15'000;
  int deadline_ms = 30'000;
  options.server.listen = "127.0.0.1:7070";
  atelier::rpc::AddServerFlags(app, options.server);
  app.add_option("--state", state, "Folder for database and artifacts")
      ->envname("ATELIER_STATE")
      ->capture_default_str();
  app.add_option("--lease-ms", lease_ms,
                 "A task whose trainer was not heard of for so long goes to another")
      ->envname("ATELIER_LEASE_MS")
      ->check(CLI::Range(200, 3'600'000))
      ->capture_default_str();
  app.add_option("--deadline-ms", deadline_ms,
                 "Deadline of calls that bring none and wait for a data-service")
      ->envname("ATELIER_DEADLINE_MS")
      ->check(CLI::Range(1, 86'400'000))
      ->capture_default_str();
  if (const auto code = atelier::rpc::ParseFlags(app, argc, argv)) return *code;
  options.state_dir = state;
  options.lease_ttl = std::chrono::milliseconds(lease_ms);
  options.imposed_deadline = std::chrono::milliseconds(deadline_ms);
  options.channels = atelier::rpc::MakeTcpChannelFactory({.tls = options.server.tls});
  return atelier::rpc::ServeUntilSignal(
      "coordinator", kGrace, [&] { return CoordinatorServer::Start(std::move(options)); });
}
