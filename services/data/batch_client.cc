#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "atelier/v1/data_service.grpc.pb.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/status.h"
#include "services/data/client.h"

namespace atelier::data {
namespace {

constexpr std::chrono::milliseconds kRetryPause{250};

// Replicas in the order of preference for one plan: rendezvous hashing (Thaler, Ravishankar 1998),
// so that every trainer on a plan asks the same replica first, and few move when replicas come and
// go.
std::vector<std::string> ByPreference(std::vector<std::string> addresses, const std::string& plan) {
  std::vector<std::pair<std::string, std::string>> ranked;
  for (std::string& address : addresses) {
    std::string rank = Sha256Hex(absl::StrCat(plan, "@", address));
    ranked.emplace_back(std::move(rank), std::move(address));
  }
  std::sort(ranked.rbegin(), ranked.rend());
  std::vector<std::string> ordered;
  for (auto& [rank, address] : ranked) ordered.push_back(std::move(address));
  return ordered;
}

// The addresses of a source; streams that are open see changes.
struct Addresses {
  Mutex mutex;
  std::vector<std::string> list ABSL_GUARDED_BY(mutex);
  std::vector<std::string> Get() {
    MutexLock lock(mutex);
    return list;
  }
};

class BatchStreamImpl final : public BatchStream {
 public:
  BatchStreamImpl(std::shared_ptr<rpc::ChannelFactory> channels,
                  std::shared_ptr<Addresses> addresses, std::chrono::milliseconds patience,
                  const v1::DataPlan& plan, int epoch, int first_step)
      : channels_(std::move(channels)), addresses_(std::move(addresses)), patience_(patience) {
    *request_.mutable_plan() = plan;
    request_.set_epoch(epoch);
    request_.set_first_step(first_step);
    plan_digest_ = DataPlanDigest(plan);
  }
  ~BatchStreamImpl() override {
    if (reader_ != nullptr) {
      context_->TryCancel();
      reader_->Finish();
    }
  }

  absl::StatusOr<std::optional<v1::Batch>> Next() override {
    const auto give_up = std::chrono::steady_clock::now() + patience_;
    while (true) {
      if (cancelled()) return absl::CancelledError("the batch stream was cancelled");
      if (reader_ == nullptr && !Connect())
        return absl::UnavailableError("no data-service is known");
      v1::Batch batch;
      if (reader_->Read(&batch)) {
        if (batch.step() != request_.first_step()) {
          return absl::DataLossError(
              absl::StrCat("step ", batch.step(), " came, expected ", request_.first_step()));
        }
        request_.set_first_step(batch.step() + 1);
        tried_ = 0;
        return std::optional<v1::Batch>(std::move(batch));
      }
      const absl::Status status = Disconnect();
      if (status.ok()) return std::optional<v1::Batch>();
      if (cancelled()) return absl::CancelledError("the batch stream was cancelled");
      if (!absl::IsUnavailable(status)) return status;
      if (std::chrono::steady_clock::now() > give_up) {
        return Annotate(status, "no data-service answered");
      }
      ++tried_;
      PauseAfterRound();
    }
  }

  void Cancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (context_ != nullptr) context_->TryCancel();
    wake_.NotifyAll();
  }

 private:
  bool cancelled() {
    MutexLock lock(mutex_);
    return cancelled_;
  }

  bool Connect() {
    const std::vector<std::string> ordered = ByPreference(addresses_->Get(), plan_digest_);
    if (ordered.empty()) return false;
    const std::string& address = ordered[tried_ % ordered.size()];
    auto stub = v1::DataService::NewStub(channels_->Connect(address));
    MutexLock lock(mutex_);
    // A stream lives as long as its reader computes; liveness is keepalive's and the lease's
    // business.
    context_ = std::make_unique<grpc::ClientContext>();
    reader_ = stub->StreamBatches(context_.get(), request_);
    if (cancelled_) context_->TryCancel();
    return true;
  }

  absl::Status Disconnect() {
    const absl::Status status = rpc::FromGrpcStatus(reader_->Finish());
    reader_.reset();
    MutexLock lock(mutex_);
    context_.reset();
    return status;
  }

  // Every replica was asked: wait a little before the next round.
  void PauseAfterRound() {
    const size_t replicas = std::max<size_t>(1, addresses_->Get().size());
    if (tried_ % replicas != 0) return;
    MutexLock lock(mutex_);
    wake_.WaitFor(mutex_, kRetryPause, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return cancelled_; });
  }

  const std::shared_ptr<rpc::ChannelFactory> channels_;
  const std::shared_ptr<Addresses> addresses_;
  const std::chrono::milliseconds patience_;
  v1::StreamBatchesRequest request_;  // first_step: what comes next
  std::string plan_digest_;
  size_t tried_ = 0;
  std::unique_ptr<grpc::ClientReader<v1::Batch>> reader_;

  Mutex mutex_;
  CondVar wake_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::ClientContext> context_;  // swapped under the lock, used by the reader
};

class BatchSourceImpl final : public BatchSource {
 public:
  BatchSourceImpl(std::shared_ptr<rpc::ChannelFactory> channels, std::vector<std::string> addresses,
                  int patience_ms)
      : channels_(std::move(channels)), patience_(patience_ms) {
    SetAddresses(std::move(addresses));
  }
  void SetAddresses(std::vector<std::string> addresses) override {
    MutexLock lock(addresses_->mutex);
    addresses_->list = std::move(addresses);
  }
  std::unique_ptr<BatchStream> Open(const v1::DataPlan& plan, int epoch, int first_step) override {
    return std::make_unique<BatchStreamImpl>(channels_, addresses_, patience_, plan, epoch,
                                             first_step);
  }

 private:
  const std::shared_ptr<rpc::ChannelFactory> channels_;
  const std::chrono::milliseconds patience_;
  const std::shared_ptr<Addresses> addresses_ = std::make_shared<Addresses>();
};

}  // namespace

std::unique_ptr<BatchSource> BatchSource::Create(std::shared_ptr<rpc::ChannelFactory> channels,
                                                 std::vector<std::string> addresses,
                                                 int patience_ms) {
  return std::make_unique<BatchSourceImpl>(std::move(channels), std::move(addresses), patience_ms);
}

}  // namespace atelier::data
