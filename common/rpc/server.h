// A gRPC server with the limits of RELIABILITY, health, reflection, metrics over HTTP and a clean
// stop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/tls.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc
namespace prometheus {
class Collectable;
}

namespace atelier::rpc {

struct ServerOptions {
  // "127.0.0.1:7070"; port 0 picks a free one. A non-loopback host needs `tls` or `insecure`: plain
  // text beyond loopback is refused unless the operator asked for it (--insecure).
  std::string listen = "127.0.0.1:0";
  bool insecure = false;
  // Set: mutual TLS and nothing else.
  std::shared_ptr<const TlsIdentity> tls;
  // No socket at all: reachable only through InProcessChannels (embedded mode).
  bool in_process_only = false;
  int max_receive_bytes = 4 << 20;
  int max_concurrent_streams = 64;  // of one connection; further calls wait at the client
  int64_t resource_quota_bytes = int64_t{512} << 20;
  std::chrono::milliseconds handshake{5'000};
  std::chrono::milliseconds connection_idle{300'000};
  std::chrono::milliseconds connection_age{1'800'000};
  std::chrono::milliseconds connection_age_grace{60'000};
  // A peer that answers no ping for `keepalive` + `keepalive_timeout` is gone; one that pings more
  // often than every `min_ping_interval` is sent away.
  std::chrono::milliseconds keepalive{30'000};
  std::chrono::milliseconds keepalive_timeout{10'000};
  std::chrono::milliseconds min_ping_interval{20'000};
  // > 0: once a new connection to this server's own port goes unanswered for so long, the process
  // logs it and ends, so that its supervisor starts a healthy one; `unanswered` replaces the end.
  // 0: nobody watches. Between its questions the watchdog gives freed memory back to the system.
  std::chrono::milliseconds watchdog{0};
  std::function<void()> unanswered;
  // What to serve (a prometheus::Registry is one) at http://HOST:(gRPC port + 1000)/metrics; unset:
  // no HTTP. With port 0 (or when `http_port` >= 0) HTTP listens on http_port (0 = free). It is
  // plain text: with `tls` it stays on loopback unless told `insecure_metrics`.
  std::shared_ptr<prometheus::Collectable> metrics;
  int http_port = -1;
  bool insecure_metrics = false;
};

// Thread-safe. Services must outlive the server. Destruction shuts down at once.
class RpcServer {
 public:
  // FailedPrecondition when the port is taken, or the host is not loopback and there is neither
  // `tls` nor `insecure`; InvalidArgument when there are both.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const ServerOptions& options,
                                                          std::vector<grpc::Service*> services);
  virtual ~RpcServer() = default;

  virtual int port() const = 0;       // bound gRPC port; 0 when in_process_only
  virtual int http_port() const = 0;  // bound HTTP port; 0 when none
  virtual grpc::Server& server() = 0;
  // Overall health ("") and the named ones; starts as NOT_SERVING until SetServing(true).
  virtual void SetServing(bool serving) = 0;
  // NOT_SERVING, no new calls, running calls get until the deadline, then are cancelled. Blocks.
  virtual void Shutdown(std::chrono::milliseconds grace) = 0;
  // Blocks until Shutdown has finished.
  virtual void Wait() = 0;
};

}  // namespace atelier::rpc
