#include "services/cli/embedded.h"

#include <utility>

#include "common/base/files.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/nn/runtime.h"
#include "common/rpc/limits.h"
#include "common/rpc/retry.h"
#include "common/rpc/server.h"
#include "services/aggregator/service.h"
#include "services/coordinator/client.h"
#include "services/coordinator/service.h"
#include "services/data/service.h"
#include "services/trainer/service.h"

namespace atelier::cli {
namespace {

constexpr std::chrono::minutes kLoadEnsemble{5};
// Registration is one call over an in-process channel; this only waits for its thread to run.
constexpr rpc::RetryPolicy kRegistration{400, std::chrono::milliseconds(5),
                                         std::chrono::milliseconds(50)};

rpc::ServerOptions InProcess(int max_receive_bytes) {
  rpc::ServerOptions options;
  options.in_process_only = true;
  options.max_receive_bytes = max_receive_bytes;
  return options;
}

class EmbeddedImpl final : public Embedded {
 public:
  EmbeddedImpl() : channels_(rpc::MakeInProcessChannels()) {}

  ~EmbeddedImpl() override {
    Stop(std::chrono::seconds(5));
    for (const char* name : {"aggregator", "trainer", "data", "coordinator"})
      channels_->Remove(name);
  }

  absl::Status StartAll(const EmbeddedOptions& options) {
    if (options.state.has_value()) {
      ATELIER_RETURN_IF_ERROR(MakeDirectories(*options.state));
      ATELIER_RETURN_IF_ERROR(StartCoordinator(*options.state));
    }
    if (options.data_root.has_value())
      ATELIER_RETURN_IF_ERROR(StartData(*options.data_root, options.pictures));
    if (options.state.has_value() || options.serve.has_value()) {
      // Without it LibTorch falls back to a BLAS that is 20 times slower, in silence.
      if (const absl::Status blas = nn::CheckBlas(); !blas.ok()) {
        LogError("%s", std::string(blas.message()));
      }
    }
    if (options.state.has_value()) {
      ATELIER_RETURN_IF_ERROR(AwaitDataService());
      ATELIER_RETURN_IF_ERROR(StartTrainer());
    }
    if (options.serve.has_value()) return StartAggregator(*options.serve, options);
    return absl::OkStatus();
  }

  std::shared_ptr<rpc::ChannelFactory> channels() override { return channels_; }
  int port() const override { return aggregator_ == nullptr ? 0 : aggregator_->server().port(); }

  void DrainTrainer(std::chrono::milliseconds grace) override {
    if (trainer_ != nullptr) trainer_->Drain(grace);
  }

  void Stop(std::chrono::milliseconds grace) override {
    MutexLock lock(stop_mutex_);
    if (stopped_) return;
    stopped_ = true;
    if (aggregator_ != nullptr) aggregator_->Drain(grace);
    // The trainer first: its last checkpoint needs the coordinator.
    if (trainer_ != nullptr) trainer_->Drain(grace);
    if (data_ != nullptr) data_->Drain(std::chrono::milliseconds(500));
    if (coordinator_ != nullptr) coordinator_->Drain(std::chrono::milliseconds(500));
  }

 private:
  absl::Status StartCoordinator(const std::filesystem::path& state) {
    coordinator::CoordinatorOptions options;
    options.state_dir = state;
    options.server = InProcess(rpc::ServerOptions{}.max_receive_bytes);
    options.channels = channels_;
    ATELIER_ASSIGN_OR_RETURN(coordinator_,
                             coordinator::CoordinatorServer::Start(std::move(options)));
    channels_->Add("coordinator", coordinator_->server().server());
    return absl::OkStatus();
  }

  absl::Status StartData(const std::filesystem::path& root, const vision::DecodeLimits& limits) {
    data::DataServiceOptions options;
    options.root = root;
    options.limits = limits;
    options.server = InProcess(rpc::kPictureReceiveBytes);
    if (coordinator_ != nullptr) {
      options.channels = channels_;
      options.coordinator = kEmbeddedCoordinator;
      options.advertise = kEmbeddedData;
    }
    ATELIER_ASSIGN_OR_RETURN(data_, data::DataServer::Start(std::move(options)));
    channels_->Add("data", data_->server().server());
    return absl::OkStatus();
  }

  absl::Status StartTrainer() {
    trainer::TrainerOptions options;
    options.server = InProcess(rpc::kPictureReceiveBytes);
    options.channels = channels_;
    options.coordinator = kEmbeddedCoordinator;
    options.advertise = kEmbeddedTrainer;
    ATELIER_ASSIGN_OR_RETURN(trainer_, trainer::TrainerServer::Start(std::move(options)));
    channels_->Add("trainer", trainer_->server().server());
    return absl::OkStatus();
  }

  // A plan is refused while no data-service is registered.
  absl::Status AwaitDataService() {
    const auto fleet = coordinator::FleetClient::Create(channels_->Connect(kEmbeddedCoordinator));
    return coordinator::AwaitDataService(*fleet, kRegistration, rpc::RealSleeper());
  }

  absl::Status StartAggregator(const ServableEnsemble& ensemble, const EmbeddedOptions& how) {
    aggregator::AggregatorOptions options;
    options.service.limits.picture = how.pictures;
    if (!ensemble.run_directory.empty()) {
      options.service.run_directory = ensemble.run_directory;
    } else {
      options.service.coordinator = ensemble.coordinator;
      options.service.ensemble_name = ensemble.version.name();
    }
    options.service.ensemble_version = ensemble.version.version();
    options.service.local = aggregator::LocalMembers::kOnly;
    options.channels = channels_;
    options.wait_served = kLoadEnsemble;
    options.server = InProcess(rpc::kPictureReceiveBytes);
    if (!how.listen.empty()) {
      options.server.in_process_only = false;
      options.server.listen = how.listen;
      ATELIER_ASSIGN_OR_RETURN(options.server.tls, rpc::TlsIdentityFromEnvironment());
    }
    ATELIER_ASSIGN_OR_RETURN(aggregator_, aggregator::AggregatorServer::Start(std::move(options)));
    channels_->Add("aggregator", aggregator_->server().server());
    return absl::OkStatus();
  }

  // In the order in which they must be made; destroyed the other way round.
  std::shared_ptr<rpc::InProcessChannels> channels_;
  std::unique_ptr<coordinator::CoordinatorServer> coordinator_;
  std::unique_ptr<data::DataServer> data_;
  std::unique_ptr<trainer::TrainerServer> trainer_;
  std::unique_ptr<aggregator::AggregatorServer> aggregator_;
  Mutex stop_mutex_;
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Embedded>> Embedded::Start(const EmbeddedOptions& options) {
  auto embedded = std::make_unique<EmbeddedImpl>();
  ATELIER_RETURN_IF_ERROR(embedded->StartAll(options));
  return embedded;
}

}  // namespace atelier::cli
