#include "services/data/service.h"

#include <prometheus/collectable.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/process.h"
#include "common/base/status.h"
#include "common/rpc/address.h"
#include "common/rpc/gauges.h"
#include "services/data/data_service.h"
#include "services/data/registration.h"

namespace atelier::data {
namespace {

// Handlers describe datasets and open windows; both may read the disk for long.
constexpr int kHandlerThreads = 8;

class DataServerImpl final : public DataServer {
 public:
  explicit DataServerImpl(DataServiceOptions options) : options_(std::move(options)) {}
  ~DataServerImpl() override { Drain(std::chrono::milliseconds(0)); }

  absl::Status Start() {
    const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    const int threads = options_.threads > 0 ? options_.threads : processors;
    ATELIER_ASSIGN_OR_RETURN(catalog_, Catalog::Create(options_.root, options_.limits, threads));
    cache_ = std::make_unique<PictureCache>(options_.cache_bytes);
    windows_ = std::make_unique<WindowRoom>(options_.window_bytes, threads);
    handlers_ = std::make_unique<WorkerPool>(kHandlerThreads);
    service_ = std::make_unique<DataServiceImpl>(*catalog_, *cache_, *windows_, *handlers_,
                                                 options_.describe_limit);
    if (!options_.server.in_process_only) {
      options_.server.metrics = std::make_shared<Metrics>(*this);
    }
    ATELIER_ASSIGN_OR_RETURN(server_, rpc::RpcServer::Start(options_.server, {service_.get()}));
    server_->SetServing(true);
    if (!options_.coordinator.empty()) {
      registration_ =
          Registration::Start(options_.channels->Connect(options_.coordinator),
                              options_.id.empty() ? HostAndProcess() : options_.id,
                              rpc::AddressToRegister(options_.server, server_->port(),
                                                     options_.coordinator, options_.advertise));
    }
    return absl::OkStatus();
  }

  rpc::RpcServer& server() override { return *server_; }

  DataServiceStats stats() const override {
    const PictureCache::Stats cache = cache_->stats();
    const WindowBudget::Stats window = windows_->stats();
    return {window.produced, window.recomputed, window.bytes,
            cache.bytes,     cache.hits,        cache.misses};
  }

  void Drain(std::chrono::milliseconds grace) override {
    if (server_ == nullptr) return;
    // At once: a good-bye to a coordinator that does not answer takes its time.
    server_->SetServing(false);
    service_->Drain();
    registration_.reset();
    server_->Shutdown(grace);
    windows_->Stop();
    handlers_->Stop();
  }

 private:
  class Metrics final : public prometheus::Collectable {
   public:
    explicit Metrics(const DataServerImpl& server) : server_(server) {}
    std::vector<prometheus::MetricFamily> Collect() const override {
      const DataServiceStats stats = server_.stats();
      rpc::Gauges gauges;
      const auto set = [&gauges](const char* name, const char* help, int64_t value) {
        gauges.Set(name, help, static_cast<double>(value));
      };
      set("atelier_batches_produced_total", "Batches made for a window", stats.batches_produced);
      set("atelier_batches_recomputed_total", "Batches made again for a consumer behind its window",
          stats.batches_recomputed);
      set("atelier_window_bytes", "Bytes of batches held", stats.window_bytes);
      set("atelier_picture_cache_bytes", "Bytes of decoded pictures held", stats.cache_bytes);
      set("atelier_picture_cache_hits_total", "Pictures found decoded", stats.cache_hits);
      set("atelier_picture_cache_misses_total", "Pictures read and decoded", stats.cache_misses);
      return gauges.Collect();
    }

   private:
    const DataServerImpl& server_;
  };

  // In order of construction; destroyed in reverse.
  DataServiceOptions options_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<PictureCache> cache_;
  std::unique_ptr<WindowRoom> windows_;
  std::unique_ptr<WorkerPool> handlers_;
  std::unique_ptr<DataServiceImpl> service_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<Registration> registration_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataServer>> DataServer::Start(DataServiceOptions options) {
  auto server = std::make_unique<DataServerImpl>(std::move(options));
  ATELIER_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace atelier::data
