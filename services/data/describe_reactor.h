// Sends what a description says as it goes: progress at most once a second, the summary, the
// manifest. One write in flight, and a page of the manifest is made when the one before it is
// written: while the client does not read, nothing grows.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "atelier/v1/data_service.pb.h"
#include "common/concurrency/mutex.h"
#include "services/data/catalog.h"

namespace atelier::data {

// Deletes itself when done.
class DescribeReactor final : public grpc::ServerWriteReactor<v1::DescribeDatasetResponse> {
 public:
  // The call is cancelled when it has not ended after `limit`, be it that the client has left it
  // lying.
  DescribeReactor(grpc::CallbackServerContext& context, std::chrono::milliseconds limit);
  // Any thread. Progress that the client has no room for is dropped.
  void Progress(int done, int total);
  void Send(v1::DescribeDatasetResponse part);
  // After everything else but End.
  void SendManifest(std::shared_ptr<const Dataset> dataset);
  void End(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  // The call while there is one: the alarm may ring later.
  struct Call {
    Mutex mutex;
    grpc::CallbackServerContext* context ABSL_GUARDED_BY(mutex);
  };

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next page of the manifest, if there is one, becomes a part.
  void MakePage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Call> call_;
  grpc::Alarm alarm_;
  Mutex mutex_;
  std::deque<v1::DescribeDatasetResponse> parts_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Dataset> manifest_ ABSL_GUARDED_BY(mutex_);  // not all of it is sent
  size_t next_sample_ ABSL_GUARDED_BY(mutex_) = 0;
  std::chrono::steady_clock::time_point last_progress_ ABSL_GUARDED_BY(mutex_){};
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::data
