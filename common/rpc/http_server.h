// Prometheus metrics over plain HTTP (GET /metrics), behind cpp-httplib: prometheus-cpp's own
// Exposer would want a second port once the dashboard is there.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace prometheus {
class Collectable;
}

namespace atelier::rpc {

// Serves until destroyed. Thread-safe.
class HttpServer {
 public:
  // port 0: a free one. FailedPrecondition when the port is taken.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const std::string& host, int port, std::shared_ptr<prometheus::Collectable> metrics);
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

}  // namespace atelier::rpc
