#include "common/rpc/cancellation.h"

#include <grpcpp/client_context.h>

namespace atelier::rpc {

void Cancellation::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : under_way_) context->TryCancel();
  changed_.NotifyAll();
}

bool Cancellation::cancelled() const {
  MutexLock lock(mutex_);
  return cancelled_;
}

bool Cancellation::Sleep(std::chrono::milliseconds time) {
  MutexLock lock(mutex_);
  return !changed_.WaitFor(mutex_, time,
                           [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return cancelled_; });
}

Cancellation::Scope::Scope(Cancellation* owner, grpc::ClientContext& context)
    : owner_(owner), context_(context) {
  if (owner_ == nullptr) return;
  MutexLock lock(owner_->mutex_);
  owner_->under_way_.insert(&context_);
  if (owner_->cancelled_) context_.TryCancel();  // remembered until the call begins
}

Cancellation::Scope::~Scope() {
  if (owner_ == nullptr) return;
  MutexLock lock(owner_->mutex_);
  owner_->under_way_.erase(&context_);
}

}  // namespace atelier::rpc
