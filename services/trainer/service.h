// The trainer-service as one object: main.cc and the embedded mode put it together through this.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"

namespace atelier::trainer {

struct TrainerOptions {
  rpc::ServerOptions server;
  std::shared_ptr<rpc::ChannelFactory> channels;
  std::string coordinator;  // address
  std::string id;           // default: host name and process
  std::string advertise;  // default: the peer's host as the coordinator sees it, and the bound port
  std::vector<std::string> backbones;                // empty: all
  std::string device = "auto";                       // auto, cpu, cuda, cuda:N
  int threads = 0;                                   // of a task; 0: all
  std::chrono::milliseconds checkpoint_interval{0};  // 0: the plan's
  int64_t predict_cache_bytes = int64_t{4} << 30;
};

// Thread-safe. Working once created; destruction drains.
class TrainerServer {
 public:
  // InvalidArgument: unknown backbone or device.
  static absl::StatusOr<std::unique_ptr<TrainerServer>> Start(TrainerOptions options);
  virtual ~TrainerServer() = default;

  virtual rpc::RpcServer& server() = 0;
  // NOT_SERVING; the running task is checkpointed and given back; predictions in flight are
  // answered, and their streams end with UNAVAILABLE. What the coordinator has not answered within
  // `grace` is given up: the task then goes on from its checkpoint before. Blocks until all that is
  // done; once.
  virtual void Drain(std::chrono::milliseconds grace) = 0;
};

}  // namespace atelier::trainer
