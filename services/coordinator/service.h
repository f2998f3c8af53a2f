// The coordinator as one object: main.cc and the embedded mode put it together through this.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"

namespace atelier::coordinator {

struct CoordinatorOptions {
  // Database, artifacts and lock live below it; made when missing.
  std::filesystem::path state_dir;
  rpc::ServerOptions server;
  std::chrono::milliseconds lease_ttl{15'000};
  // Of calls that wait for a data-service and bring no deadline.
  std::chrono::milliseconds imposed_deadline{30'000};
  // How it reaches data-services.
  std::shared_ptr<rpc::ChannelFactory> channels;
};

// Thread-safe. Serving once created; destruction stops at once.
class CoordinatorServer {
 public:
  // FailedPrecondition: another process uses the state folder, or the port is taken.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(CoordinatorOptions options);
  virtual ~CoordinatorServer() = default;

  virtual rpc::RpcServer& server() = 0;
  // NOT_SERVING; streams end with UNAVAILABLE, calls are cancelled after `grace`; blocks until
  // everything has stopped. Idempotent.
  virtual void Drain(std::chrono::milliseconds grace) = 0;
};

}  // namespace atelier::coordinator
