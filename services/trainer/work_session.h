// Keeps the work stream to the coordinator: hello, heartbeats, progress; runs what is assigned, one
// task at a time on one thread; reconnects with its lease; stops itself when the lease runs out.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "atelier/v1/fleet_service.pb.h"
#include "common/base/clock.h"
#include "services/coordinator/client.h"
#include "services/trainer/progress_board.h"
#include "services/trainer/stop_signal.h"

namespace atelier::trainer {

// Runs one assignment to its end (TaskRunner::Run).
using RunTask = std::function<void(const v1::Assignment&, ProgressBoard&, StopSignal&)>;

// Thread-safe.
class WorkSession {
 public:
  // `fleet` and `clock` must outlive it. `hello` without `current` and `draining`.
  static std::unique_ptr<WorkSession> Start(coordinator::FleetClient& fleet, v1::TrainerHello hello,
                                            RunTask run_task, const Clock& clock);
  // Drains.
  virtual ~WorkSession() = default;
  // Takes no further task; the running one is checkpointed and given back. Blocks until that is
  // done.
  virtual void Drain() = 0;
};

}  // namespace atelier::trainer
