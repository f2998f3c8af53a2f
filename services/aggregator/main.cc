// atelier-aggregator: parses flags, builds the graph, waits.
#include <CLI/CLI.hpp>
#include <map>

#include "common/base/logging.h"
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
  AggregatorOptions options;
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
  ServiceOptions& service = flags.options.service;
  rpc::ServerOptions& server = flags.options.server;
  static const std::map<std::string, LocalMembers> kLocal = {
      {"on", LocalMembers::kFallback}, {"off", LocalMembers::kOff}, {"only", LocalMembers::kOnly}};
  server.listen = "127.0.0.1:7080";
  server.max_receive_bytes = rpc::kPictureReceiveBytes;
  rpc::AddServerFlags(app, server);
  Flag(app, "http-port", server.http_port, "Port of the metrics; -1: gRPC port + 1000");
  Flag(app, "coordinator", service.coordinator, "HOST:PORT of the coordinator to follow");
  Flag(app, "name", service.ensemble_name, "Ensemble to serve; empty: the one promoted last");
  Flag(app, "ensemble-version", service.ensemble_version,
       "Serve this version of --name instead of the promoted one; 0: follow promotions");
  Flag(app, "run", service.run_directory, "Run directory to serve instead of a coordinator's");
  Flag(app, "local-fallback", service.local,
       "Members in this process: on (when no trainer answers), off, only (no trainers)")
      ->transform(CLI::CheckedTransformer(kLocal, CLI::ignore_case).description("on|off|only"))
      ->default_str("on");
  Flag(app, "min-members", service.min_members,
       "Members that must answer; 0: what the version says")
      ->check(CLI::NonNegativeNumber);
  Flag(app, "deadline-ms", flags.deadline_ms, "Deadline of calls that bring none")
      ->check(CLI::PositiveNumber);
  Flag(app, "max-pictures", service.limits.max_pictures, "Pictures of one request")
      ->check(CLI::Range(1, RequestLimits::kMostPictures));
  vision::AddPictureLimitFlags(app, service.limits.picture);
  Flag(app, "drain-ms", flags.drain_ms, "Time running requests get on SIGTERM")
      ->check(CLI::NonNegativeNumber);
  Flag(app, "decode-threads", service.decode_threads, "Threads that decode pictures")
      ->check(CLI::PositiveNumber);
  Flag(app, "inference-threads", service.inference_threads, "In-process forwards at a time")
      ->check(CLI::PositiveNumber);
  Flag(app, "threads", flags.options.threads, "LibTorch's threads; 0: all cores");
  Flag(app, "device", service.device, "Device of in-process members: auto, cpu, cuda:N");
  app.footer(
      "Examples:\n"
      "  atelier-aggregator --coordinator 127.0.0.1:7070\n"
      "  atelier-aggregator --coordinator 127.0.0.1:7070 --name paintings --local-fallback off\n"
      "  atelier-aggregator --run runs/paintings --listen 127.0.0.1:7080");
}

int Main(int argc, char** argv) {
  nn::EnsureCalmOpenMp(argv);
  CLI::App app{"Serves an ensemble: the Open Inference Protocol and atelier.v1 on one port."};
  Flags flags;
  AddFlags(app, flags);
  if (const auto code = rpc::ParseFlags(app, argc, argv)) return *code;
  AggregatorOptions& options = flags.options;
  options.service.limits.imposed_deadline = std::chrono::milliseconds(flags.deadline_ms);
  options.channels = rpc::MakeTcpChannelFactory({.tls = options.server.tls});
  const std::chrono::milliseconds grace(flags.drain_ms);
  return rpc::ServeUntilSignal("aggregator", grace, [&] {
    if (const absl::Status blas = nn::CheckBlas(); !blas.ok()) LogError("%s", blas.ToString());
    return AggregatorServer::Start(std::move(options));
  });
}

}  // namespace
}  // namespace atelier::aggregator

int main(int argc, char** argv) { return atelier::aggregator::Main(argc, argv); }
