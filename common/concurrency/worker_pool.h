// A fixed number of threads for work that may block. Thread-safe.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "common/concurrency/bounded_queue.h"

namespace atelier {

class WorkerPool {
 public:
  // `max_queued`: jobs waiting beyond the ones running; Submit refuses above it.
  explicit WorkerPool(int threads, uint64_t max_queued = 4096);
  // Runs what was submitted, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Never blocks: it is called in reactions, and under locks that jobs wait for. False when too
  // much is queued, and after Stop(): the job will not run, and whoever waits for it must be told.
  // A job must not throw: that ends the process.
  bool Submit(std::function<void()> job);
  // No further jobs; runs what is queued and joins. Idempotent; not from a job.
  void Stop();

 private:
  BoundedQueue<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace atelier
