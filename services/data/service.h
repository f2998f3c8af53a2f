// The data-service as one object: main.cc and the embedded mode put it together through this.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/vision/decode.h"

namespace atelier::data {

struct DataServiceOptions {
  std::filesystem::path root;  // absolute; never left, never written
  rpc::ServerOptions server;
  // Reaches the coordinator; unset: registers nowhere.
  std::shared_ptr<rpc::ChannelFactory> channels;
  std::string coordinator;
  std::string id;         // default: host name and process
  std::string advertise;  // default: the peer's host as the coordinator sees it, and the bound port
  int threads = 0;        // 0: one per processor
  int64_t cache_bytes = int64_t{1} << 30;
  int64_t window_bytes = int64_t{256} << 20;
  vision::DecodeLimits limits;
  // Imposed on a description whose client sets no deadline, or reads no further.
  std::chrono::milliseconds describe_limit{1'800'000};
};

// What it holds and did, for metrics and tests.
struct DataServiceStats {
  int64_t batches_produced = 0;
  int64_t batches_recomputed = 0;
  int64_t window_bytes = 0;
  int64_t cache_bytes = 0;
  int64_t cache_hits = 0;
  int64_t cache_misses = 0;
};

// Thread-safe. Serving once created; destruction stops at once.
class DataServer {
 public:
  static absl::StatusOr<std::unique_ptr<DataServer>> Start(DataServiceOptions options);
  virtual ~DataServer() = default;

  virtual rpc::RpcServer& server() = 0;
  virtual DataServiceStats stats() const = 0;
  // NOT_SERVING; descriptions end at the next file; says good-bye to the coordinator, for a second
  // at most; streams are cancelled after `grace`.
  virtual void Drain(std::chrono::milliseconds grace) = 0;
};

}  // namespace atelier::data
