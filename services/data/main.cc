// atelier-data: pictures in, batches out.
#include <CLI/CLI.hpp>

#include "common/rpc/limits.h"
#include "common/rpc/service_main.h"
#include "common/vision/limit_flags.h"
#include "services/data/service.h"

namespace {

// Batch streams go on elsewhere at the next step.
constexpr std::chrono::seconds kGrace{1};
constexpr int64_t kMiB = 1 << 20;

}  // namespace

int main(int argc, char** argv) {
  using atelier::data::DataServer;
  using atelier::data::DataServiceOptions;

  CLI::App app(
      "Atelier's data-service: reads pictures below one root and streams augmented batches.");
  DataServiceOptions options;
  std::string root;
  int64_t cache_mib = options.cache_bytes / kMiB;
  int64_t window_mib = options.window_bytes / kMiB;
  options.server.listen = "127.0.0.1:7071";
  options.server.max_receive_bytes = atelier::rpc::kPictureReceiveBytes;
  atelier::rpc::AddServerFlags(app, options.server);
  app.add_option("--root", root, "Absolute folder that clients' datasets lie in")
      ->envname("ATELIER_ROOT")
      ->required();
  app.add_option("--coordinator", options.coordinator, "HOST:PORT to register with")
      ->envname("ATELIER_COORDINATOR");
  app.add_option("--advertise", options.advertise, "HOST:PORT that trainers reach this service at")
      ->envname("ATELIER_ADVERTISE");
  app.add_option("--id", options.id, "Name of this replica")->envname("ATELIER_ID");
  app.add_option("--threads", options.threads,
                 "Threads that decode and augment (0: one per processor)")
      ->envname("ATELIER_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--cache-mib", cache_mib, "Decoded pictures kept")
      ->envname("ATELIER_CACHE_MIB")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--window-mib", window_mib, "Batches kept for slower trainers")
      ->envname("ATELIER_WINDOW_MIB")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  atelier::vision::AddPictureLimitFlags(app, options.limits);
  if (const auto code = atelier::rpc::ParseFlags(app, argc, argv)) return *code;
  options.root = root;
  options.cache_bytes = cache_mib * kMiB;
  options.window_bytes = window_mib * kMiB;
  options.channels = atelier::rpc::MakeTcpChannelFactory({.tls = options.server.tls});
  return atelier::rpc::ServeUntilSignal("data", kGrace,
                                        [&] { return DataServer::Start(std::move(options)); });
}
