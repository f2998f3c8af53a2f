// Notices that a server does not answer new connections any more, as Debian's gRPC 1.51 may after a
// flood of them, although it is alive and serves those it has.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::rpc {

struct WatchdogOptions {
  // Unanswered for so long: give up. Questions are a third of it apart and wait a third of it.
  std::chrono::milliseconds limit{15'000};
  // After a question without an answer the next one comes this soon.
  std::chrono::milliseconds retry{500};
};

// Thread-safe.
class Watchdog {
 public:
  // One question over a new connection: OK when there was any answer in `patience`.
  using Ask = std::function<absl::Status(std::chrono::milliseconds patience)>;
  // Called once, on the watchdog's thread, which asks no more after it. Not before three questions
  // in a row went unanswered: a process that was stopped for a while is not a broken one.
  using GiveUp = std::function<void(const absl::Status& last)>;

  Watchdog(const WatchdogOptions& options, Ask ask, GiveUp give_up);
  // Waits for a question under way.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void Run();
  // False when the watchdog is to stop.
  bool Pause(std::chrono::milliseconds pause);

  const WatchdogOptions options_;
  const Ask ask_;
  const GiveUp give_up_;
  Mutex mutex_;
  CondVar stopping_cv_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace atelier::rpc
