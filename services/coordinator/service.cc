#include "services/coordinator/service.h"

#include <prometheus/collectable.h>
#include <unistd.h>

#include <utility>

#include "common/base/files.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/gauges.h"
#include "services/coordinator/coordinator_service.h"
#include "services/coordinator/fleet_service.h"
#include "services/coordinator/registry_service.h"
#include "services/coordinator/sweep.h"
#include "services/coordinator/ticker.h"

namespace atelier::coordinator {
namespace {

// Handlers may wait for the disk.
constexpr int kHandlerThreads = 16;
// At a time: submissions, inspections and previews, each of which may take minutes.
constexpr int kRelayThreads = 8;
// Uploads sync large files, and ends of tasks read them, for seconds on a busy disk: the renewals
// of leases do not wait for them.
constexpr int kUploadThreads = 8;

// Filled when it is scraped, so that counting costs nothing otherwise.
class CoordinatorMetrics final : public prometheus::Collectable {
 public:
  explicit CoordinatorMetrics(RunExecutor& executor) : executor_(executor) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    const RunExecutor::Counts counts = executor_.GetCounts();
    rpc::Gauges gauges;
    gauges.Set("atelier_trainers", "Trainers connected", counts.trainers);
    gauges.Set("atelier_data_services", "Data-services registered", counts.data_services);
    gauges.Set("atelier_leases_expired_total", "Leases that expired",
               static_cast<double>(counts.leases_expired));
    gauges.Set("atelier_checkpoints_committed_total", "Checkpoints committed",
               static_cast<double>(counts.checkpoints));
    for (const auto& [state, number] : counts.tasks) {
      gauges.Set("atelier_tasks", "Tasks of runs that go on, by state", number, {{"state", state}});
    }
    return gauges.Collect();
  }

 private:
  RunExecutor& executor_;
};

class CoordinatorServerImpl final : public CoordinatorServer {
 public:
  explicit CoordinatorServerImpl(CoordinatorOptions options) : options_(std::move(options)) {}
  ~CoordinatorServerImpl() override { Drain(std::chrono::milliseconds(0)); }

  absl::Status Start() {
    ATELIER_RETURN_IF_ERROR(MakeDirectories(options_.state_dir));
    ATELIER_ASSIGN_OR_RETURN(lock_, DirectoryLock::Acquire(options_.state_dir));
    ATELIER_ASSIGN_OR_RETURN(artifacts_,
                             artifacts::OpenDirectoryStore(options_.state_dir / "artifacts"));
    ATELIER_ASSIGN_OR_RETURN(
        store_, OpenSqliteStore(options_.state_dir / "coordinator.db", [](const std::string& why) {
          LogError("%s; ending: a restart recovers from what is on the disk", why);
          ::_exit(1);
        }));
    // Under the lock, and before a call can come: nobody is uploading.
    const auto swept = SweepArtifacts(*store_, *artifacts_, RealClock().WallNow());
    if (!swept.ok()) LogWarning("left-over files stay: %s", swept.status().ToString());
    ExecutorOptions executor_options;
    executor_options.lease_ttl = options_.lease_ttl;
    executor_options.data_service_ttl = options_.lease_ttl;
    ATELIER_ASSIGN_OR_RETURN(
        executor_, RunExecutor::Create(executor_options, *store_, *artifacts_, RealClock()));
    pool_ = std::make_unique<WorkerPool>(kHandlerThreads);
    relays_ = std::make_unique<WorkerPool>(kRelayThreads);
    uploads_ = std::make_unique<WorkerPool>(kUploadThreads);
    coordinator_ = std::make_unique<CoordinatorServiceImpl>(
        *executor_, *pool_, *relays_, options_.channels, options_.imposed_deadline);
    fleet_ = std::make_unique<FleetServiceImpl>(*executor_, *pool_, *uploads_);
    registry_ = std::make_unique<RegistryServiceImpl>(*executor_, *artifacts_, *pool_, *uploads_);
    if (!options_.server.in_process_only) {
      options_.server.metrics = std::make_shared<CoordinatorMetrics>(*executor_);
    }
    ATELIER_ASSIGN_OR_RETURN(
        server_, rpc::RpcServer::Start(options_.server,
                                       {coordinator_.get(), fleet_.get(), registry_.get()}));
    ticker_ = std::make_unique<Ticker>(*executor_);
    server_->SetServing(true);
    return absl::OkStatus();
  }

  rpc::RpcServer& server() override { return *server_; }

  void Drain(std::chrono::milliseconds grace) override {
    MutexLock lock(drain_mutex_);
    if (server_ == nullptr) return;
    server_->SetServing(false);
    executor_->notifier()->Close();  // streams end and tell their clients to come back
    server_->Shutdown(grace);
    ticker_.reset();
    relays_->Stop();  // their calls were cancelled
    uploads_->Stop();
    pool_->Stop();
  }

 private:
  Mutex drain_mutex_;
  // In order of construction; destroyed in reverse.
  CoordinatorOptions options_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<artifacts::ArtifactStore> artifacts_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<RunExecutor> executor_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<WorkerPool> relays_;
  std::unique_ptr<WorkerPool> uploads_;
  std::unique_ptr<CoordinatorServiceImpl> coordinator_;
  std::unique_ptr<FleetServiceImpl> fleet_;
  std::unique_ptr<RegistryServiceImpl> registry_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    CoordinatorOptions options) {
  auto server = std::make_unique<CoordinatorServerImpl>(std::move(options));
  ATELIER_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace atelier::coordinator
