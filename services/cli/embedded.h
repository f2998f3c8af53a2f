// Embedded mode: the services a verb needs, composed in this process over in-process channels. Same
// service classes, same protos, every call through gRPC; no socket, no daemon.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"
#include "common/rpc/channel.h"
#include "common/vision/decode.h"

namespace atelier::cli {

// An ensemble version and where its weights are: a run directory, or else a coordinator's registry.
struct ServableEnsemble {
  v1::EnsembleVersion version;
  std::filesystem::path run_directory;
  std::string coordinator;  // "host:port"
};

struct EmbeddedOptions {
  // Set: a data-service reading below this folder.
  std::optional<std::filesystem::path> data_root;
  // Set: a coordinator that keeps its state here and a trainer; needs data_root.
  std::optional<std::filesystem::path> state;
  // Set: an aggregator with the members in this process.
  std::optional<ServableEnsemble> serve;
  // Of the aggregator: "127.0.0.1:7080" to listen on TCP as well; empty: in process only.
  std::string listen;
  vision::DecodeLimits pictures;  // of the data-service and the aggregator
};

inline constexpr char kEmbeddedCoordinator[] = "inproc:coordinator";
inline constexpr char kEmbeddedData[] = "inproc:data";
inline constexpr char kEmbeddedTrainer[] = "inproc:trainer";
inline constexpr char kEmbeddedAggregator[] = "inproc:aggregator";

// Thread-safe. The destructor stops what still runs.
class Embedded {
 public:
  // Returns once the services answer; with `serve` once the ensemble is loaded.
  static absl::StatusOr<std::unique_ptr<Embedded>> Start(const EmbeddedOptions& options);
  virtual ~Embedded() = default;

  // Reaches the services under the names above, anything else over TCP.
  virtual std::shared_ptr<rpc::ChannelFactory> channels() = 0;
  // The aggregator's bound port, 0 when it does not listen.
  virtual int port() const = 0;
  // The trainer takes no further task, writes a last checkpoint of the one under way and gives it
  // back; what is acknowledged by then is kept. Blocks, at most `grace`.
  virtual void DrainTrainer(std::chrono::milliseconds grace) = 0;
  // Drains and stops everything. Idempotent.
  virtual void Stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace atelier::cli
