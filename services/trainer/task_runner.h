// One assignment from start to finish: load, train, score, upload, report. No torch in this header.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/base/clock.h"
#include "common/rpc/channel.h"
#include "services/coordinator/client.h"
#include "services/data/client.h"
#include "services/trainer/patience.h"
#include "services/trainer/progress_board.h"
#include "services/trainer/stop_signal.h"

namespace atelier::trainer {

struct RunnerOptions {
  std::string device = "cpu";
  int threads = 0;                                             // 0: all
  std::chrono::milliseconds checkpoint_interval{0};            // 0: the plan's
  std::chrono::milliseconds full_disk_pause = kFullDiskPause;  // see Patience
};

// Makes the source of an assignment's batches; tests put a scripted one here.
using BatchSourceFactory =
    std::function<std::unique_ptr<data::BatchSource>(const std::vector<std::string>& addresses)>;

// Not thread-safe: one task at a time, on the thread that calls.
class TaskRunner {
 public:
  // The clients and the clock must outlive it.
  TaskRunner(const RunnerOptions& options, coordinator::FleetClient& fleet,
             coordinator::RegistryClient& registry, BatchSourceFactory sources, const Clock& clock)
      : options_(options),
        fleet_(fleet),
        registry_(registry),
        sources_(std::move(sources)),
        clock_(clock) {}

  // Never throws. Tells the coordinator how it ended (FinishTask), unless the lease was lost.
  void Run(const v1::Assignment& assignment, ProgressBoard& board, StopSignal& stop);

 private:
  struct Outcome;
  absl::Status Train(const v1::Assignment& assignment, ProgressBoard& board, StopSignal& stop,
                     Outcome& outcome);
  absl::StatusOr<std::string> Upload(const std::string& bytes, const StopSignal& stop);
  absl::Status Score(const v1::Assignment& assignment, data::BatchSource& source,
                     ProgressBoard& board, StopSignal& stop, Outcome& outcome);
  void Report(const v1::Assignment& assignment, const absl::Status& status, ProgressBoard& board,
              StopSignal& stop, Outcome& outcome);

  const RunnerOptions options_;
  coordinator::FleetClient& fleet_;
  coordinator::RegistryClient& registry_;
  const BatchSourceFactory sources_;
  const Clock& clock_;
};

}  // namespace atelier::trainer
