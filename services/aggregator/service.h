// The aggregator as one object, with its server (main.cc and the embedded mode put it together
// through this) and without.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/aggregator/request_limits.h"

namespace grpc {
class Service;
}
namespace prometheus {
class Registry;
}

namespace atelier::aggregator {

// Whether members may run in this process.
enum class LocalMembers {
  kOff,       // members are trainers only
  kFallback,  // trainers first; in-process when none of them answers
  kOnly,      // in-process only
};

struct ServiceOptions {
  // Where versions come from; exactly one of the two is set.
  // 1. Follow the promoted version of `ensemble_name` (empty: of the name promoted last) in the
  //    registry at this address. `ensemble_version` > 0 pins that version of the name instead.
  std::string coordinator;
  std::string ensemble_name;
  int ensemble_version = 0;
  // 2. The ensemble of a run directory: RUN/ensemble.json (EnsembleVersion as protobuf JSON) and
  //    its weights, RUN/weights/<digest>.safetensors, RUN/weights/<member>.safetensors or the
  //    artifact store RUN/artifacts/. Members are in-process. `ensemble_version` > 0 overrides the
  //    number.
  std::filesystem::path run_directory;

  LocalMembers local = LocalMembers::kFallback;
  int min_members = 0;  // > 0 overrides the version's
  RequestLimits limits;
  int decode_threads = 2;
  int inference_threads = 1;    // forwards at a time; LibTorch parallelises one inside
  std::string device = "auto";  // of in-process members
  std::chrono::milliseconds warm_up_timeout{120'000};
  std::shared_ptr<prometheus::Registry> metrics;  // unset: kept, but nowhere to be seen
};

// Thread-safe. Destroy the server that carries services() first.
class Service {
 public:
  // InvalidArgument on options that contradict each other.
  static absl::StatusOr<std::unique_ptr<Service>> Create(
      const ServiceOptions& options, std::shared_ptr<rpc::ChannelFactory> channels);
  virtual ~Service() = default;

  // inference.GRPCInferenceService and atelier.v1.AggregatorService; owned by this object.
  virtual std::vector<grpc::Service*> services() = 0;
  // Begins to follow versions; never waits for one. NotFound, InvalidArgument or DataLoss when a
  // run directory has no usable ensemble.
  virtual absl::Status Start() = 0;
  // Blocks until a version is served; else the reason why none is (DeadlineExceeded when it is
  // merely not there yet).
  virtual absl::Status WaitServed(std::chrono::milliseconds timeout) = 0;
  // No further requests (UNAVAILABLE), streams end, running requests finish. Blocks until nothing
  // is in flight or the time is over; in the latter case false, and what is in flight is answered
  // UNAVAILABLE without waiting for members. Call before the server's Shutdown.
  virtual bool Drain(std::chrono::milliseconds timeout) = 0;
};

struct AggregatorOptions {
  ServiceOptions service;  // its `metrics` are the server's, made when unset
  rpc::ServerOptions server;
  int threads = 0;  // LibTorch's; 0: all cores
  // Reaches the coordinator and the trainers.
  std::shared_ptr<rpc::ChannelFactory> channels;
  // > 0: Start waits so long at most for the first version. 0: it waits for none.
  std::chrono::milliseconds wait_served{0};
};

// The service behind its server. Thread-safe. Serving once created; destruction stops at once.
class AggregatorServer {
 public:
  // As Service::Create, Service::WaitServed and rpc::RpcServer::Start.
  static absl::StatusOr<std::unique_ptr<AggregatorServer>> Start(AggregatorOptions options);
  virtual ~AggregatorServer() = default;

  virtual rpc::RpcServer& server() = 0;
  // NOT_SERVING; running requests finish, those that do not within `grace` are cut off. Blocks
  // until everything has stopped. Idempotent.
  virtual void Drain(std::chrono::milliseconds grace) = 0;
};

}  // namespace atelier::aggregator
