#include <prometheus/registry.h>

#include <utility>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/nn/runtime.h"
#include "services/aggregator/service.h"

namespace atelier::aggregator {
namespace {

// For what is cut off to be answered.
constexpr std::chrono::seconds kCutOff{1};

class AggregatorServerImpl final : public AggregatorServer {
 public:
  ~AggregatorServerImpl() override { Drain(std::chrono::milliseconds(0)); }

  absl::Status Start(AggregatorOptions options) {
    nn::SetThreads(options.threads);
    if (options.service.metrics == nullptr) {
      options.service.metrics = std::make_shared<prometheus::Registry>();
    }
    if (!options.server.in_process_only) options.server.metrics = options.service.metrics;
    ATELIER_ASSIGN_OR_RETURN(service_,
                             Service::Create(options.service, std::move(options.channels)));
    ATELIER_ASSIGN_OR_RETURN(server_, rpc::RpcServer::Start(options.server, service_->services()));
    ATELIER_RETURN_IF_ERROR(service_->Start());
    if (options.wait_served.count() > 0) {
      ATELIER_RETURN_IF_ERROR(service_->WaitServed(options.wait_served));
    }
    server_->SetServing(true);
    return absl::OkStatus();
  }

  rpc::RpcServer& server() override { return *server_; }

  void Drain(std::chrono::milliseconds grace) override {
    MutexLock lock(drain_mutex_);
    if (drained_ || server_ == nullptr) return;
    drained_ = true;
    server_->SetServing(false);
    if (!service_->Drain(grace)) LogInfo("requests were cut off");
    server_->Shutdown(kCutOff);
  }

 private:
  std::unique_ptr<Service> service_;
  std::unique_ptr<rpc::RpcServer> server_;  // destroyed before the service it carries
  Mutex drain_mutex_;
  bool drained_ ABSL_GUARDED_BY(drain_mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AggregatorServer>> AggregatorServer::Start(
    AggregatorOptions options) {
  auto server = std::make_unique<AggregatorServerImpl>();
  ATELIER_RETURN_IF_ERROR(server->Start(std::move(options)));
  return server;
}

}  // namespace atelier::aggregator
