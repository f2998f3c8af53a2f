// A fixed number of threads for work that may block. Thread-safe.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "common/concurrency/bounded_queue.h"

namespace atelier {

class WorkerPool {
 public:
  // `max_queued`: jobs waiting beyond the ones running; Submit blocks above it.
  explicit WorkerPool(int threads, uint64_t max_queued = 4096);
  // Runs what was submitted, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False after Stop(): the job will not run.
  bool Submit(std::function<void()> job);
  // No further jobs; runs what is queued and joins. Idempotent; not from a job.
  void Stop();

 private:
  BoundedQueue<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace atelier
