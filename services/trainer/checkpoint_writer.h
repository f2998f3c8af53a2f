// Serializes, uploads and commits checkpoints in the background, one at a time. Torch header.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/client.h"
#include "services/trainer/checkpoint_file.h"
#include "services/trainer/patience.h"

namespace atelier::trainer {

struct CheckpointJob {
  Checkpoint checkpoint;
  std::vector<v1::AppliedStep> applied;  // since the job before
  bool is_best = false;                  // its model is the best so far: upload it as weights too
};

// Used by the training thread; the work happens on a thread of its own.
class CheckpointWriter {
 public:
  // The clients and `stop`, which ends retries, must outlive it. `full_disk_pause`: see Patience.
  CheckpointWriter(coordinator::FleetClient& fleet, coordinator::RegistryClient& registry,
                   v1::Lease lease, std::string best_weights_digest, const StopSignal& stop,
                   std::chrono::milliseconds full_disk_pause = kFullDiskPause);
  // Finishes what is under way, but waits for no room on a full disk.
  ~CheckpointWriter();

  // A job is being written.
  bool busy();
  // Waits while busy, then starts `job`. The error of an earlier job, if it failed: the task cannot
  // go on (ABORTED: the lease is lost; CANCELLED: the trainer drains and the disk is full).
  absl::Status Start(CheckpointJob job);
  // Waits for what is under way.
  absl::Status Flush();
  // Digest of the best weights uploaded; call after Flush.
  std::string best_weights_digest();

 private:
  void Run();
  absl::Status Write(CheckpointJob& job);

  coordinator::FleetClient& fleet_;
  coordinator::RegistryClient& registry_;
  const v1::Lease lease_;
  Patience patience_;
  Mutex mutex_;
  CondVar changed_;
  std::optional<CheckpointJob> job_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::string best_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace atelier::trainer
