// Calls RunExecutor::Tick when something happened or the next deadline came; waits in between.
#pragma once

#include <thread>

#include "common/concurrency/mutex.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {

// Thread-safe. Stops and joins when destroyed; the executor must outlive it.
class Ticker {
 public:
  explicit Ticker(RunExecutor& executor);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void Run();

  RunExecutor& executor_;
  Mutex mutex_;
  CondVar woken_;
  bool kicked_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace atelier::coordinator
