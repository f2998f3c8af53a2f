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

// The network is not trusted: what the parts of a batch say of each other is relied on when they
// are read. `step`: the one that comes next.
absl::Status CheckBatch(const v1::Batch& batch, int step, v1::Subset subset) {
  if (batch.step() != step) {
    return absl::DataLossError(absl::StrCat("step ", batch.step(), " came, expected ", step));
  }
  const auto bad = [step](const auto&... what) {
    return absl::DataLossError(absl::StrCat("the batch of step ", step, " has ", what...));
  };
  const int64_t size = batch.size();
  if (size < 1) return bad(size, " pictures");
  const auto bytes = static_cast<int64_t>(batch.pixels().size());
  int64_t expected = size;
  for (const int64_t extent : {batch.height(), batch.width(), batch.channels()}) {
    if (extent < 1 || expected > bytes / extent) {  // a product above `bytes` may overflow
      return bad(bytes, " bytes of pixels, too few for ", size, "x", batch.height(), "x",
                 batch.width(), "x", batch.channels());
    }
    expected *= extent;
  }
  if (bytes != expected) return bad(bytes, " bytes of pixels, the shape needs ", expected);
  if (batch.labels_size() % size != 0 || (batch.labels_size() == 0 && subset != v1::TEST)) {
    return bad(batch.labels_size(), " numbers as labels of ", size, " pictures");
  }
  if (batch.sample_ids_size() != size) {
    return bad(batch.sample_ids_size(), " ids of ", size, " pictures");
  }
  return absl::OkStatus();
}

class BatchStreamImpl final : public BatchStream {
 public:
  BatchStreamImpl(std::shared_ptr<rpc::ChannelFactory> channels,
                  const std::vector<std::string>& addresses, std::chrono::milliseconds patience,
                  const v1::DataPlan& plan, int epoch, int first_step)
      : channels_(std::move(channels)),
        replicas_(ByPreference(addresses, DataPlanDigest(plan))),
        patience_(patience) {
    *request_.mutable_plan() = plan;
    request_.set_epoch(epoch);
    request_.set_first_step(first_step);
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
        ATELIER_RETURN_IF_ERROR(CheckBatch(batch, request_.first_step(), request_.plan().subset()));
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
    if (replicas_.empty()) return false;
    const std::string& address = replicas_[tried_ % replicas_.size()];
    auto stub = v1::DataService::NewStub(channels_->Connect(address));
    // A stream lives as long as its reader computes; liveness is keepalive's and the lease's
    // business.
    grpc::ClientContext* context = nullptr;
    {
      MutexLock lock(mutex_);
      context_ = std::make_unique<grpc::ClientContext>();
      if (cancelled_) context_->TryCancel();  // remembered: the call ends as it begins
      context = context_.get();
    }
    // Waits for the connection; not under the lock, which Cancel takes.
    reader_ = stub->StreamBatches(context, request_);
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
    if (tried_ % replicas_.size() != 0) return;
    MutexLock lock(mutex_);
    wake_.WaitFor(mutex_, kRetryPause, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return cancelled_; });
  }

  const std::shared_ptr<rpc::ChannelFactory> channels_;
  const std::vector<std::string> replicas_;  // best first
  const std::chrono::milliseconds patience_;
  v1::StreamBatchesRequest request_;  // first_step: what comes next
  size_t tried_ = 0;
  std::unique_ptr<grpc::ClientReader<v1::Batch>> reader_;  // Next's alone

  Mutex mutex_;
  CondVar wake_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::ClientContext> context_;  // swapped under the lock, used by the reader
};

class BatchSourceImpl final : public BatchSource {
 public:
  BatchSourceImpl(std::shared_ptr<rpc::ChannelFactory> channels, std::vector<std::string> addresses,
                  int patience_ms)
      : channels_(std::move(channels)), addresses_(std::move(addresses)), patience_(patience_ms) {}
  std::unique_ptr<BatchStream> Open(const v1::DataPlan& plan, int epoch, int first_step) override {
    return std::make_unique<BatchStreamImpl>(channels_, addresses_, patience_, plan, epoch,
                                             first_step);
  }

 private:
  const std::shared_ptr<rpc::ChannelFactory> channels_;
  const std::vector<std::string> addresses_;
  const std::chrono::milliseconds patience_;
};

}  // namespace

std::unique_ptr<BatchSource> BatchSource::Create(std::shared_ptr<rpc::ChannelFactory> channels,
                                                 std::vector<std::string> addresses,
                                                 int patience_ms) {
  return std::make_unique<BatchSourceImpl>(std::move(channels), std::move(addresses), patience_ms);
}

}  // namespace atelier::data
