// Sends what a description says as it goes: progress at most once a second, the summary, the
// manifest.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <deque>

#include "absl/status/status.h"
#include "atelier/v1/data_service.pb.h"
#include "common/concurrency/mutex.h"

namespace atelier::data {

// Deletes itself when done.
class DescribeReactor final : public grpc::ServerWriteReactor<v1::DescribeDatasetResponse> {
 public:
  // Any thread. Progress that the client has no room for is dropped.
  void Progress(int done, int total);
  void Send(v1::DescribeDatasetResponse part);
  void End(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnDone() override {
    {
      // Another thread may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    delete this;
  }

 private:
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::deque<v1::DescribeDatasetResponse> parts_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point last_progress_ ABSL_GUARDED_BY(mutex_){};
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::data
