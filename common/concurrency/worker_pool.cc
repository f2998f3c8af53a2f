#include "common/concurrency/worker_pool.h"

namespace atelier {

WorkerPool::WorkerPool(int threads, uint64_t max_queued) : jobs_(max_queued) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto job = jobs_.Pop()) (*job)();
    });
  }
}

WorkerPool::~WorkerPool() { Stop(); }

bool WorkerPool::Submit(std::function<void()> job) { return jobs_.TryPush(job); }

void WorkerPool::Stop() {
  jobs_.Close();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace atelier
