// Ends a client's calls when its owner goes.
#pragma once

#include <chrono>
#include <set>

#include "common/concurrency/mutex.h"

namespace grpc {
class ClientContext;
}

namespace atelier::rpc {

// Shared by the owner, who cancels, and by the clients whose calls it is to end. Thread-safe.
class Cancellation {
 public:
  // For good: ends what is under way, and what begins later at once.
  void Cancel();
  bool cancelled() const;
  // Waits; false, perhaps before the time is over, when cancelled.
  bool Sleep(std::chrono::milliseconds time);

  // While it lives, its call can be cancelled. Made before the call begins and gone before the
  // context. A null `owner` does nothing.
  class Scope {
   public:
    Scope(Cancellation* owner, grpc::ClientContext& context);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Cancellation* const owner_;
    grpc::ClientContext& context_;
  };

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::rpc
