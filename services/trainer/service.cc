#include "services/trainer/service.h"

#include <prometheus/collectable.h>

#include <algorithm>
#include <functional>
#include <future>
#include <thread>
#include <utility>

#include "common/base/logging.h"
#include "common/base/process.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/nn/caching_allocator.h"
#include "common/nn/catalog.h"
#include "common/nn/runtime.h"
#include "common/rpc/address.h"
#include "common/rpc/cancellation.h"
#include "common/rpc/gauges.h"
#include "services/coordinator/client.h"
#include "services/trainer/environment.h"
#include "services/trainer/predict_service.h"
#include "services/trainer/task_runner.h"
#include "services/trainer/work_session.h"

namespace atelier::trainer {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Without a drain before: for the running task's checkpoint.
constexpr std::chrono::seconds kDestructionGrace{60};

class TrainerServerImpl final : public TrainerServer {
 public:
  explicit TrainerServerImpl(TrainerOptions options) : options_(std::move(options)) {}
  ~TrainerServerImpl() override { Stop(kDestructionGrace, std::chrono::milliseconds(0)); }

  absl::Status Start() {
    for (const std::string& id : options_.backbones) ATELIER_RETURN_IF_ERROR(nn::FindBackbone(id));
    ATELIER_ASSIGN_OR_RETURN(options_.device, nn::ChooseDevice(options_.device));
    const absl::Status blas = nn::CheckBlas();
    if (!blas.ok()) LogError("%s", blas.message());
    const auto channel = options_.channels->Connect(options_.coordinator);
    fleet_ = coordinator::FleetClient::Create(channel, coordinator_calls_);
    registry_ = coordinator::RegistryClient::Create(channel, coordinator_calls_);

    PredictorCacheOptions cache_options;
    cache_options.max_bytes = options_.predict_cache_bytes;
    cache_options.backbones = options_.backbones;
    cache_options.device = options_.device;
    cache_ = std::make_unique<PredictorCache>(
        cache_options, [this](const std::string& digest) { return registry_->GetBytes(digest); });
    inference_ = std::make_unique<WorkerPool>(1);
    loading_ = std::make_unique<WorkerPool>(1);
    for (WorkerPool* pool : {inference_.get(), loading_.get()}) {
      pool->Submit([threads = options_.threads] { nn::SetThreads(threads); });
    }
    service_ = std::make_unique<PredictServiceImpl>(*cache_, *inference_, *loading_);
    if (!options_.server.in_process_only) {
      options_.server.metrics = std::make_shared<Metrics>(*service_);
    }
    ATELIER_ASSIGN_OR_RETURN(server_, rpc::RpcServer::Start(options_.server, {service_.get()}));
    server_->SetServing(true);
    StartWork();
    return absl::OkStatus();
  }

  rpc::RpcServer& server() override { return *server_; }

  void Drain(std::chrono::milliseconds grace) override { Stop(grace, grace); }

 private:
  // `work`: for the running task's checkpoint. `calls`: for predictions in flight; counted from
  // now, too.
  void Stop(std::chrono::milliseconds work, std::chrono::milliseconds calls) {
    MutexLock lock(drain_mutex_);
    if (drained_ || server_ == nullptr) return;
    drained_ = true;
    const SteadyClock::time_point begun = SteadyClock::now();
    server_->SetServing(false);
    service_->Drain();
    if (session_ != nullptr) LimitCalls(begun + work, [&] { session_->Drain(); });
    // Predictions may wait for a download, which the server cannot cut off.
    LimitCalls(begun + calls, [&] {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(begun + calls - SteadyClock::now());
      server_->Shutdown(std::max(left, std::chrono::milliseconds(0)));
    });
    coordinator_calls_->Cancel();  // downloads that nobody waits for any more
    loading_->Stop();              // its jobs may wait for the inference thread
    inference_->Stop();
  }

  // Runs `stop`; from `end` on the coordinator's answers are waited for no longer, for good.
  void LimitCalls(SteadyClock::time_point end, const std::function<void()>& stop) {
    std::promise<void> stopped;
    auto limit = std::async(std::launch::async, [&, done = stopped.get_future()] {
      if (done.wait_until(end) == std::future_status::timeout) coordinator_calls_->Cancel();
    });
    stop();
    stopped.set_value();
    limit.get();
  }

  class Metrics final : public prometheus::Collectable {
   public:
    explicit Metrics(const PredictServiceImpl& service) : service_(service) {}
    std::vector<prometheus::MetricFamily> Collect() const override {
      rpc::Gauges gauges;
      gauges.Set("atelier_predictions_total", "Pictures predicted",
                 static_cast<double>(service_.predictions()));
      gauges.Set("atelier_tensor_cache_bytes", "Bytes of freed tensors kept for the next ones",
                 static_cast<double>(nn::CachedBytes()));
      return gauges.Collect();
    }

   private:
    const PredictServiceImpl& service_;
  };

  void StartWork() {
    const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    v1::TrainerHello hello;
    hello.set_trainer_id(options_.id.empty() ? HostAndProcess() : options_.id);
    *hello.mutable_device() =
        DescribeDevice(options_.device, options_.threads > 0 ? options_.threads : processors);
    *hello.mutable_backbones() = {options_.backbones.begin(), options_.backbones.end()};
    hello.set_predict_address(rpc::AddressToRegister(options_.server, server_->port(),
                                                     options_.coordinator, options_.advertise));
    RunnerOptions runner_options;
    runner_options.device = options_.device;
    runner_options.threads = options_.threads;
    runner_options.checkpoint_interval = options_.checkpoint_interval;
    runner_ = std::make_unique<TaskRunner>(
        runner_options, *fleet_, *registry_,
        [channels = options_.channels](const std::vector<std::string>& addresses) {
          return data::BatchSource::Create(channels, addresses);
        },
        RealClock());
    session_ = WorkSession::Start(
        *fleet_, hello,
        [this](const v1::Assignment& assignment, ProgressBoard& board, StopSignal& stop) {
          runner_->Run(assignment, board, stop);
        },
        RealClock());
  }

  // In order of construction; destroyed in reverse.
  TrainerOptions options_;
  const std::shared_ptr<rpc::Cancellation> coordinator_calls_ =
      std::make_shared<rpc::Cancellation>();
  std::unique_ptr<coordinator::FleetClient> fleet_;
  std::unique_ptr<coordinator::RegistryClient> registry_;
  std::unique_ptr<PredictorCache> cache_;
  std::unique_ptr<WorkerPool> inference_;
  std::unique_ptr<WorkerPool> loading_;
  std::unique_ptr<PredictServiceImpl> service_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<TaskRunner> runner_;
  std::unique_ptr<WorkSession> session_;
  Mutex drain_mutex_;
  bool drained_ ABSL_GUARDED_BY(drain_mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TrainerServer>> TrainerServer::Start(TrainerOptions options) {
  auto server = std::make_unique<TrainerServerImpl>(std::move(options));
  ATELIER_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace atelier::trainer
