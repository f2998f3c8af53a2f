// atelier-aggregator: parses flags, builds the graph, waits.
#include <prometheus/registry.h>

#include <CLI/CLI.hpp>
#include <map>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/nn/calm_openmp.h"
#include "common/nn/runtime.h"
#include "common/rpc/channel.h"
#include "common/rpc/limits.h"
#include "common/rpc/server.h"
#include "common/rpc/service_main.h"
#include "common/vision/limit_flags.h"
#include "services/aggregator/service.h"

namespace atelier::aggregator {
namespace {

struct Flags {
  ServiceOptions service;
  rpc::ServerOptions server;
  int threads = 0;
  int64_t deadline_ms = 30'000;
  int64_t drain_ms = 30'000;
};

template <typename Value>
CLI::Option* Flag(CLI::App& app, const std::string& name, Value& value, const std::string& help) {
  return app.add_option("--" + name, value, help)
      ->envname(rpc::EnvironmentName("--" + name))
      ->capture_default_str();
}

void AddFlags(CLI::App& app, Flags& flags) {
  static const std::map<std::string, LocalMembers> kLocal = {
      {"on", LocalMembers::kFallback}, {"off", LocalMembers::kOff}, {"only", LocalMembers::kOnly}};
  flags.server.listen = "127.0.0.1:7080";
  flags.server.max_receive_bytes = rpc::kPictureReceiveBytes;
  rpc::AddServerFlags(app, flags.server);
  Flag(app, "http-port", flags.server.http_port, "Port of the metrics; -1: gRPC port + 1000");
  Flag(app, "coordinator", flags.service.coordinator, "HOST:PORT of the coordinator to follow");
  Flag(app, "name", flags.service.ensemble_name, "Ensemble to serve; empty: the one promoted last");
  Flag(app, "ensemble-version", flags.service.ensemble_version,
       "Serve this version of --name instead of the promoted one; 0: follow promotions");
  Flag(app, "run", flags.service.run_directory,
       "Run directory to serve instead of a coordinator's");
  Flag(app, "local-fallback", flags.service.local,
       "Members in this process: on (when no trainer answers), off, only (no trainers)")
      ->transform(CLI::CheckedTransformer(kLocal, CLI::ignore_case).description("on|off|only"))
      ->default_str("on");
  Flag(app, "min-members", flags.service.min_members,
       "Members that must answer; 0: what the version says")
      ->check(CLI::NonNegativeNumber);
  Flag(app, "deadline-ms", flags.deadline_ms, "Deadline of calls that bring none")
      ->check(CLI::PositiveNumber);
  Flag(app, "max-pictures", flags.service.limits.max_pictures, "Pictures of one request")
      ->check(CLI::Range(1, RequestLimits().max_pictures));  // trainers take no more
  vision::AddPictureLimitFlags(app, flags.service.limits.picture);
  Flag(app, "drain-ms", flags.drain_ms, "Time running requests get on SIGTERM")
      ->check(CLI::NonNegativeNumber);
  Flag(app, "decode-threads", flags.service.decode_threads, "Threads that decode pictures")
      ->check(CLI::PositiveNumber);
  Flag(app, "inference-threads", flags.service.inference_threads, "In-process forwards at a time")
      ->check(CLI::PositiveNumber);
  Flag(app, "threads", flags.threads, "LibTorch's threads; 0: all cores");
  Flag(app, "device", flags.service.device, "Device of in-process members: auto, cpu, cuda:N");
  app.footer(
      "Examples:\n"
      "  atelier-aggregator --coordinator 127.0.0.1:7070\n"
      "  atelier-aggregator --coordinator 127.0.0.1:7070 --name paintings --local-fallback off\n"
      "  atelier-aggregator --run runs/paintings --listen 127.0.0.1:7080");
}

// The service behind its server, as ServeUntilSignal takes it.
class AggregatorServer {
 public:
  static absl::StatusOr<std::unique_ptr<AggregatorServer>> Start(Flags flags) {
    nn::SetThreads(flags.threads);
    if (const absl::Status blas = nn::CheckBlas(); !blas.ok()) LogError("%s", blas.ToString());
    flags.service.metrics = std::make_shared<prometheus::Registry>();
    flags.server.metrics = flags.service.metrics;
    flags.service.limits.imposed_deadline = std::chrono::milliseconds(flags.deadline_ms);
    auto started = std::make_unique<AggregatorServer>();
    ATELIER_ASSIGN_OR_RETURN(
        started->service_,
        Service::Create(flags.service, rpc::MakeTcpChannelFactory({.tls = flags.server.tls})));
    ATELIER_ASSIGN_OR_RETURN(started->server_,
                             rpc::RpcServer::Start(flags.server, started->service_->services()));
    ATELIER_RETURN_IF_ERROR(started->service_->Start());
    started->server_->SetServing(true);
    return started;
  }

  rpc::RpcServer& server() { return *server_; }
  void Drain(std::chrono::milliseconds grace) {
    server_->SetServing(false);
    if (!service_->Drain(grace)) LogInfo("requests were cut off");
    server_->Shutdown(std::chrono::seconds(1));
  }

 private:
  std::unique_ptr<Service> service_;
  std::unique_ptr<rpc::RpcServer> server_;  // destroyed before the service it carries
};

int Main(int argc, char** argv) {
  nn::EnsureCalmOpenMp(argv);
  CLI::App app{"Serves an ensemble: the Open Inference Protocol and atelier.v1 on one port."};
  Flags flags;
  AddFlags(app, flags);
  if (const auto code = rpc::ParseFlags(app, argc, argv)) return *code;
  const std::chrono::milliseconds grace(flags.drain_ms);
  return rpc::ServeUntilSignal("aggregator", grace,
                               [&] { return AggregatorServer::Start(std::move(flags)); });
}

}  // namespace
}  // namespace atelier::aggregator

int main(int argc, char** argv) { return atelier::aggregator::Main(argc, argv); }
