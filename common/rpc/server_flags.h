// ServerOptions as flags, alike in name and meaning in every service. For main.cc files only.
#pragma once

#include <CLI/CLI.hpp>
#include <cctype>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/server.h"
#include "common/rpc/tls.h"

namespace atelier::rpc {

// Without --watchdog-seconds: services have a supervisor that starts them again.
inline constexpr std::chrono::seconds kServiceWatchdog{15};

// "--max-receive-bytes" is ATELIER_MAX_RECEIVE_BYTES in the environment.
inline std::string EnvironmentName(const std::string& flag) {
  std::string name = absl::StrCat("ATELIER_", flag.substr(2));
  for (char& c : name) {
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// `value` in whole seconds, `low`..one day.
inline CLI::Option* AddSeconds(CLI::App& app, const std::string& flag,
                               std::chrono::milliseconds& value, int low, const std::string& help) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(value).count();
  return app
      .add_option_function<int>(
          flag, [&value](int given) { value = std::chrono::seconds(given); }, help)
      ->envname(EnvironmentName(flag))
      ->check(CLI::Range(low, 86'400))
      ->default_str(absl::StrCat(seconds));
}

// Mutual TLS. The files are read once all flags are there; bad ones are wrong usage.
inline void AddTlsFlags(CLI::App& app, ServerOptions& options) {
  const auto files = std::make_shared<TlsFiles>();
  const auto add = [&app](const std::string& flag, std::string& path, const std::string& help) {
    app.add_option(flag, path, help)->envname(EnvironmentName(flag))->type_name("FILE");
  };
  add("--tls-cert", files->certificate,
      "PEM certificate for those who dial this service and those it dials: mutual TLS and nothing "
      "else. Replaced files are taken up without a restart");
  add("--tls-key", files->key, "The certificate's PEM key, without a passphrase");
  add("--tls-ca", files->authority, "PEM certificates of the authorities that sign the peers'");
  app.add_flag("--insecure-metrics", options.insecure_metrics,
               "With TLS: metrics, which are plain text, not on loopback alone")
      ->envname(EnvironmentName("--insecure-metrics"));
  app.parse_complete_callback([files, &options] {
    if (files->empty()) return;
    auto identity = TlsIdentity::Load(*files);
    if (!identity.ok()) throw CLI::ValidationError(std::string(identity.status().message()));
    options.tls = *std::move(identity);
  });
}

// The defaults are those of `options` when this is called (RELIABILITY, default limits), but the
// watchdog's: kServiceWatchdog. `options` outlives the parsing.
inline void AddServerFlags(CLI::App& app, ServerOptions& options) {
  constexpr int64_t kMiB = 1 << 20;
  options.watchdog = kServiceWatchdog;
  app.add_option("--listen", options.listen,
                 "HOST:PORT; port 0 picks a free one; metrics on port + 1000")
      ->envname("ATELIER_LISTEN")
      ->capture_default_str();
  app.add_flag("--insecure", options.insecure,
               "Plain text beyond loopback: only on a network you trust")
      ->envname("ATELIER_INSECURE");
  AddTlsFlags(app, options);
  app.add_option("--max-receive-bytes", options.max_receive_bytes,
                 "Largest message taken; a larger one is RESOURCE_EXHAUSTED")
      ->envname(EnvironmentName("--max-receive-bytes"))
      ->check(CLI::Range(1024, 1 << 30))
      ->capture_default_str();
  app.add_option("--max-concurrent-streams", options.max_concurrent_streams,
                 "Calls of one connection at a time; further ones wait at the client")
      ->envname(EnvironmentName("--max-concurrent-streams"))
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option_function<int64_t>(
         "--resource-quota-mib",
         [&options](int64_t mib) { options.resource_quota_bytes = mib * kMiB; },
         "Memory of gRPC for all connections")
      ->envname(EnvironmentName("--resource-quota-mib"))
      ->check(CLI::Range(1, 1 << 20))
      ->default_str(absl::StrCat(options.resource_quota_bytes / kMiB));
  AddSeconds(app, "--handshake-seconds", options.handshake, 1,
             "A connection that has not introduced itself by then is closed");
  AddSeconds(app, "--connection-idle-seconds", options.connection_idle, 1,
             "Connections without calls are closed after so long");
  AddSeconds(app, "--connection-age-seconds", options.connection_age, 1,
             "Connections are closed gently at this age, clients reconnect");
  AddSeconds(app, "--connection-age-grace-seconds", options.connection_age_grace, 1,
             "What calls get to end in once their connection is too old");
  AddSeconds(app, "--keepalive-seconds", options.keepalive, 1,
             "A silent peer is pinged after so long");
  AddSeconds(app, "--keepalive-timeout-seconds", options.keepalive_timeout, 1,
             "A peer that has not answered the ping by then is gone");
  AddSeconds(app, "--min-ping-interval-seconds", options.min_ping_interval, 1,
             "Peers that ping more often are sent away");
  AddSeconds(app, "--watchdog-seconds", options.watchdog, 0,
             "Ends the process, for its supervisor to restart it, when new connections to it go "
             "unanswered for so long; 0: never");
}

}  // namespace atelier::rpc
