// Flags that every service has, alike in name and meaning. For main.cc files only.
#pragma once

#include <CLI/CLI.hpp>

#include "common/rpc/server.h"

namespace atelier::rpc {

inline void AddServerFlags(CLI::App& app, ServerOptions& options) {
  app.add_option("--listen", options.listen,
                 "HOST:PORT; port 0 picks a free one; metrics on port + 1000")
      ->envname("ATELIER_LISTEN")
      ->capture_default_str();
  app.add_flag("--insecure", options.insecure,
               "Plain text beyond loopback: only on a network you trust")
      ->envname("ATELIER_INSECURE");
  app.add_option_function<int>(
         "--connection-age-seconds",
         [&options](int seconds) { options.connection_age = std::chrono::seconds(seconds); },
         "Connections are closed gently at this age, clients reconnect (default 1800)")
      ->envname("ATELIER_CONNECTION_AGE_SECONDS")
      ->check(CLI::Range(1, 86'400));
}

}  // namespace atelier::rpc
