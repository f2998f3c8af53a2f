// One consumer's stream of batches: asks the window for the next step, writes it, asks again. One
// write in flight; while the client does not read nothing is asked for, so nothing grows.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>

#include "atelier/v1/data_service.pb.h"
#include "services/data/batch_window.h"

namespace atelier::data {

class BatchReactor final : public grpc::ServerWriteReactor<v1::Batch> {
 public:
  // Call Begin or Fail exactly once, from any thread. Deletes itself when done.
  BatchReactor() = default;
  void Begin(std::shared_ptr<BatchWindow> window, int first_step);
  void Fail(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override {
    {
      // Another thread may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    delete this;
  }

 private:
  // With waiting_ set, which keeps the stream until here.
  void Ask();
  void OnBatch(absl::StatusOr<SharedBatch> batch);
  void Close(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::shared_ptr<BatchWindow> window_ ABSL_GUARDED_BY(mutex_);
  int next_step_ ABSL_GUARDED_BY(mutex_) = 0;
  SharedBatch current_ ABSL_GUARDED_BY(mutex_);  // being written
  // For Begin, or for a batch: whoever brings it sees to a cancellation, too. While it is false and
  // nothing is being written, OnCancel closes, and the stream may be gone once the lock is free.
  bool waiting_ ABSL_GUARDED_BY(mutex_) = true;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace atelier::data
