#include "services/data/batch_reactor.h"

#include <utility>

#include "common/rpc/status.h"

namespace atelier::data {
namespace {

const grpc::Status kCancelled(grpc::StatusCode::CANCELLED, "cancelled");

}  // namespace

void BatchReactor::Begin(std::shared_ptr<BatchWindow> window, int first_step) {
  {
    MutexLock lock(mutex_);
    window_ = std::move(window);
    next_step_ = first_step;
  }
  Ask();
}

void BatchReactor::Fail(const absl::Status& status) {
  MutexLock lock(mutex_);
  waiting_ = false;
  Close(cancelled_ ? kCancelled : rpc::ToGrpcStatus(status));
}

void BatchReactor::Ask() {
  std::shared_ptr<BatchWindow> window;
  int step = 0;
  {
    MutexLock lock(mutex_);
    if (cancelled_) return Close(kCancelled);
    if (next_step_ >= window_->steps()) return Close(grpc::Status::OK);
    window = window_;
    step = next_step_++;
  }
  window->Request(step, [this](absl::StatusOr<SharedBatch> batch) { OnBatch(std::move(batch)); });
}

void BatchReactor::OnBatch(absl::StatusOr<SharedBatch> batch) {
  MutexLock lock(mutex_);
  waiting_ = false;
  if (cancelled_) return Close(kCancelled);
  if (!batch.ok()) return Close(rpc::ToGrpcStatus(batch.status()));
  current_ = *std::move(batch);
  StartWrite(current_.get());
}

void BatchReactor::OnWriteDone(bool ok) {
  {
    MutexLock lock(mutex_);
    current_.reset();
    waiting_ = true;
    if (!ok || cancelled_) return Close(kCancelled);
  }
  Ask();
}

void BatchReactor::OnCancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  if (!waiting_ && current_ == nullptr) Close(kCancelled);
}

void BatchReactor::Close(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  window_.reset();
  Finish(status);
}

}  // namespace atelier::data
