// What the services' main.cc files share: flags alike in name and meaning, and the life of a server
// from start to a clean stop. For main.cc files only.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/logging.h"
#include "common/concurrency/shutdown.h"
#include "common/rpc/server.h"
#include "common/rpc/server_flags.h"

namespace atelier::rpc {

// Nothing: go on. Else the process's exit code: 0 after --help, 2 on wrong usage.
inline std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
}

// Starts a server, waits for SIGINT or SIGTERM (one that comes during the start is not lost),
// drains. `start() -> StatusOr<unique_ptr<Server>>`; Server has server() and Drain(grace). Returns
// the exit code: 0 after a clean stop, 2 when the start says InvalidArgument (wrong usage that no
// flag's own check can see), 1 on another failure.
template <typename Start>
int ServeUntilSignal(const std::string& name, std::chrono::milliseconds grace, Start start) {
  SetLogName(name);
  decltype(start()) result = absl::UnavailableError("not started");
  std::promise<void> started;
  {
    ShutdownSignals signals([&](int) {
      started.get_future().wait();
      if (!result.ok()) return;
      LogInfo("draining");
      (*result)->Drain(grace);
    });
    result = start();
    started.set_value();
    if (!result.ok()) {
      std::fprintf(stderr, "atelier-%s: %s\n", name.c_str(),
                   std::string(result.status().message()).c_str());
      return absl::IsInvalidArgument(result.status()) ? 2 : 1;
    }
    RpcServer& server = (*result)->server();
    LogInfo("listening on port %d, metrics on %d", server.port(), server.http_port());
    server.Wait();
  }  // the drain under way has finished
  LogInfo("stopped");
  return 0;
}

}  // namespace atelier::rpc
