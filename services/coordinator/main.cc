// atelier-coordinator: runs, tasks, leases, registry.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <future>

#include "common/base/logging.h"
#include "common/concurrency/shutdown.h"
#include "common/rpc/flags.h"
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  options.state_dir = state;
  options.lease_ttl = std::chrono::milliseconds(lease_ms);
  options.channels = atelier::rpc::MakeTcpChannelFactory();
  atelier::SetLogName("coordinator");

  std::unique_ptr<CoordinatorServer> server;
  std::promise<void> started;
  atelier::ShutdownSignals signals([&](int) {
    started.get_future().wait();
    atelier::LogInfo("draining");
    if (server != nullptr) server->Drain(kGrace);
  });
  auto result = CoordinatorServer::Start(std::move(options));
  if (!result.ok()) {
    std::fprintf(stderr, "atelier-coordinator: %s\n",
                 std::string(result.status().message()).c_str());
    started.set_value();
    return 1;
  }
  server = *std::move(result);
  started.set_value();
  atelier::LogInfo("listening on port %d, metrics on %d", server->server().port(),
                   server->server().http_port());
  server->server().Wait();
  server->Drain(kGrace);
  atelier::LogInfo("stopped");
  return 0;
}
