#include "services/aggregator/service.h"

#include <grpcpp/impl/codegen/service_type.h>
#include <prometheus/registry.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/cancellation.h"
#include "services/aggregator/aggregator_service.h"
#include "services/aggregator/batch_split.h"
#include "services/aggregator/local_member.h"
#include "services/aggregator/oip_service.h"
#include "services/aggregator/remote_member.h"
#include "services/aggregator/version_source.h"
#include "services/coordinator/client.h"
#include "services/trainer/client.h"

namespace atelier::aggregator {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Queues of work that is bounded elsewhere (admission, waiting bytes): Submit must never refuse,
// for a refusal would count as a picture that was given no time.
constexpr uint64_t kEndlessQueue = uint64_t{1} << 32;
// How long the first warm-up waits to learn which trainers there are.
constexpr std::chrono::seconds kFirstList{5};
// Without a drain before: what is in flight ends by its own deadline.
constexpr std::chrono::seconds kDestructionGrace{60};

class ServiceImpl final : public Service {
 public:
  // `coordinator_calls` ends what `source` and `directory` ask the coordinator.
  ServiceImpl(const ServiceOptions& options, std::shared_ptr<rpc::Cancellation> coordinator_calls,
              std::unique_ptr<VersionSource> source, std::unique_ptr<TrainerDirectory> directory)
      : options_(options),
        coordinator_calls_(std::move(coordinator_calls)),
        source_(std::move(source)),
        decoding_(options.decode_threads, kEndlessQueue),
        inference_(options.inference_threads, kEndlessQueue),
        loading_(1, kEndlessQueue),
        runtime_{inference_, loading_, timer_,
                 [this](const std::string& digest) { return source_->Weights(digest); },
                 [device = options.device](const v1::ModelSpec& model, std::string_view weights) {
                   nn::PredictorOptions predictor;
                   predictor.device = device;
                   return nn::Predictor::Create(model, weights, predictor);
                 }},
        directory_(std::move(directory)),
        metrics_(Metrics::Create(options.metrics)),
        admission_(options.limits, [this](int64_t bytes) { metrics_->SetQueueBytes(bytes); }),
        versions_(std::make_unique<VersionManager>(
            VersionManagerOptions{options.min_members, options.warm_up_timeout},
            [this](const v1::EnsembleMember& spec) { return MakeMember(spec); },
            [this](const v1::EnsembleVersion& version) { return source_->Older(version); })),
        engine_(options.limits, admission_, decoding_, timer_, *metrics_),
        oip_(OipService::Create({*versions_, engine_, *metrics_})),
        aggregator_(MakeAggregatorService({*versions_, engine_, *metrics_})) {}

  // From the door inwards; nothing runs any more that could call into what is gone.
  ~ServiceImpl() override {
    Drain(kDestructionGrace);
    // A download has minutes, and others may wait behind it: nobody waits for them here.
    runtime_.stopping = true;
    coordinator_calls_->Cancel();
    source_->Stop();
    versions_.reset();
    decoding_.Stop();  // the last that asks members
    directory_.reset();
    loading_.Stop();
    inference_.Stop();
    timer_.Stop();
  }

  std::vector<grpc::Service*> services() override { return {&oip_->service(), aggregator_.get()}; }

  absl::Status Start() override {
    return source_->Start(
        [this](const v1::EnsembleVersion& version) { versions_->Offer(version); });
  }

  absl::Status WaitServed(std::chrono::milliseconds timeout) override {
    return versions_->WaitServed(SteadyClock::now() + timeout);
  }

  bool Drain(std::chrono::milliseconds timeout) override {
    oip_->Drain();
    admission_.Close();
    if (admission_.WaitEmpty(SteadyClock::now() + timeout)) return true;
    engine_.CutOff();
    return false;
  }

 private:
  absl::StatusOr<std::shared_ptr<Member>> MakeMember(const v1::EnsembleMember& spec) {
    std::shared_ptr<Member> local;
    if (options_.local != LocalMembers::kOff) local = MakeLocalMember(spec, runtime_);
    if (directory_ == nullptr) return SplitBatches(std::move(local));
    directory_->WaitAsked(SteadyClock::now() + kFirstList);
    return SplitBatches(MakeRemoteMember(spec, *directory_, std::move(local)));
  }

  const ServiceOptions options_;
  const std::shared_ptr<rpc::Cancellation> coordinator_calls_;
  std::unique_ptr<VersionSource> source_;
  WorkerPool decoding_;
  WorkerPool inference_;
  WorkerPool loading_;
  DeadlineTimer timer_;
  LocalRuntime runtime_;
  std::unique_ptr<TrainerDirectory> directory_;
  std::unique_ptr<Metrics> metrics_;
  Admission admission_;
  std::unique_ptr<VersionManager> versions_;
  PredictionEngine engine_;
  std::unique_ptr<OipService> oip_;
  std::unique_ptr<grpc::Service> aggregator_;
};

absl::Status CheckOptions(const ServiceOptions& options) {
  if (options.coordinator.empty() == options.run_directory.empty()) {
    return absl::InvalidArgumentError(
        "an aggregator follows either a coordinator (--coordinator HOST:PORT) or a run directory");
  }
  if (!options.coordinator.empty() && options.ensemble_version > 0 &&
      options.ensemble_name.empty()) {
    return absl::InvalidArgumentError("a pinned version needs the ensemble's name, too");
  }
  if (options.decode_threads < 1 || options.inference_threads < 1) {
    return absl::InvalidArgumentError("decode and inference threads start at 1");
  }
  return absl::OkStatus();
}

std::unique_ptr<TrainerDirectory> MakeDirectory(const std::string& coordinator,
                                                std::shared_ptr<rpc::ChannelFactory> channels,
                                                std::shared_ptr<rpc::Cancellation> cancellation) {
  std::shared_ptr<coordinator::FleetClient> fleet =
      coordinator::FleetClient::Create(channels->Connect(coordinator), std::move(cancellation));
  return std::make_unique<TrainerDirectory>(
      [fleet] { return fleet->ListFleet(); },
      [channels](const std::string& address) -> std::shared_ptr<trainer::PredictClient> {
        return trainer::PredictClient::Create(channels->Connect(address));
      });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Service>> Service::Create(
    const ServiceOptions& options, std::shared_ptr<rpc::ChannelFactory> channels) {
  ATELIER_RETURN_IF_ERROR(CheckOptions(options));
  auto calls = std::make_shared<rpc::Cancellation>();
  if (!options.run_directory.empty()) {
    ATELIER_ASSIGN_OR_RETURN(std::unique_ptr<VersionSource> source,
                             OpenRunDirectory(options.run_directory, options.ensemble_version));
    ServiceOptions local = options;
    local.local = LocalMembers::kOnly;
    return std::make_unique<ServiceImpl>(local, std::move(calls), std::move(source), nullptr);
  }
  std::shared_ptr<coordinator::RegistryClient> registry =
      coordinator::RegistryClient::Create(channels->Connect(options.coordinator), calls);
  auto source =
      MakeRegistrySource(std::move(registry), options.ensemble_name, options.ensemble_version);
  auto directory = options.local == LocalMembers::kOnly
                       ? nullptr
                       : MakeDirectory(options.coordinator, std::move(channels), calls);
  return std::make_unique<ServiceImpl>(options, std::move(calls), std::move(source),
                                       std::move(directory));
}

}  // namespace atelier::aggregator
