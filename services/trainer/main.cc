// atelier-trainer: trains members, and predicts with them.
#include <CLI/CLI.hpp>

#include "common/nn/calm_openmp.h"
#include "common/rpc/limits.h"
#include "common/rpc/service_main.h"
#include "services/trainer/service.h"

namespace {

// A last checkpoint of the largest member takes seconds, over a slow network more. The containers'
// stop_grace_period is above it.
constexpr std::chrono::seconds kGrace{60};
constexpr int64_t kMiB = 1 << 20;

}  // namespace

int main(int argc, char** argv) {
  using atelier::trainer::TrainerOptions;
  using atelier::trainer::TrainerServer;

  atelier::nn::EnsureCalmOpenMp(argv);
  CLI::App app(
      "Atelier's trainer: takes tasks from the coordinator, trains them, predicts with any member "
      "of its backbones.");
  TrainerOptions options;
  options.coordinator = "127.0.0.1:7070";
  options.server.listen = "127.0.0.1:7072";
  options.server.max_receive_bytes = atelier::rpc::kPictureReceiveBytes;
  int checkpoint_seconds = 0;
  int64_t cache_mib = options.predict_cache_bytes / kMiB;
  atelier::rpc::AddServerFlags(app, options.server);
  app.add_option("--coordinator", options.coordinator, "HOST:PORT of the coordinator")
      ->envname("ATELIER_COORDINATOR")
      ->capture_default_str();
  app.add_option("--advertise", options.advertise,
                 "HOST:PORT that aggregators reach this trainer at")
      ->envname("ATELIER_ADVERTISE");
  app.add_option("--id", options.id, "Name of this trainer")->envname("ATELIER_ID");
  app.add_option("--backbones", options.backbones,
                 "Backbones it takes, comma-separated (default: all)")
      ->envname("ATELIER_BACKBONES")
      ->delimiter(',');
  app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")
      ->envname("ATELIER_DEVICE")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads of a task on a CPU (0: all)")
      ->envname("ATELIER_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--checkpoint-seconds", checkpoint_seconds,
                 "Between checkpoints within an epoch (0: the plan's)")
      ->envname("ATELIER_CHECKPOINT_SECONDS")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  app.add_option("--predict-cache-mib", cache_mib, "Members kept loaded for prediction")
      ->envname("ATELIER_PREDICT_CACHE_MIB")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  if (const auto code = atelier::rpc::ParseFlags(app, argc, argv)) return *code;
  options.checkpoint_interval = std::chrono::seconds(checkpoint_seconds);
  options.predict_cache_bytes = cache_mib * kMiB;
  options.channels = atelier::rpc::MakeTcpChannelFactory({.tls = options.server.tls});
  return atelier::rpc::ServeUntilSignal("trainer", kGrace,
                                        [&] { return TrainerServer::Start(std::move(options)); });
}
