// Batches on their way to the consumers of one plan and epoch, produced once and shared.
//
// The window slides with the fastest consumer: a few steps ahead of it are produced, what slower
// consumers still need is kept as far as the bytes allow, oldest first out. A consumer behind the
// window has its batches computed again for itself alone. Workers never wait for a consumer, nor do
// they produce ahead for a window that everybody has left. All windows together hold no more than
// their budget: one that is opened takes its share from the others.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/concurrency/worker_pool.h"
#include "services/data/batch_producer.h"

namespace atelier::data {

using SharedBatch = std::shared_ptr<const v1::Batch>;
using BatchDone = std::function<void(absl::StatusOr<SharedBatch>)>;

// Bytes of batches that all windows of a service hold. Thread-safe.
class WindowBudget {
 public:
  explicit WindowBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}
  void AddWindow();
  void RemoveWindow();
  // One window's part.
  int64_t share() const;

  struct Stats {
    int64_t produced = 0;    // for a window
    int64_t recomputed = 0;  // for a consumer behind its window
    int64_t bytes = 0;       // held now
  };
  Stats stats() const;
  void CountProduced();
  void CountRecomputed();
  void AddBytes(int64_t bytes);

 private:
  const int64_t max_bytes_;
  mutable Mutex mutex_;
  int windows_ ABSL_GUARDED_BY(mutex_) = 0;
  Stats stats_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe. Outlives its requests by holding itself. Made by make_shared.
class BatchWindow : public std::enable_shared_from_this<BatchWindow> {
 public:
  BatchWindow(std::shared_ptr<const BatchProducer> producer, WorkerPool& workers,
              WindowBudget& budget);
  ~BatchWindow();

  int steps() const { return producer_->steps(); }
  // 0 <= step < steps(). `done` is called once, at once or from a worker;
  // Unavailable when too much waits for the workers. Never blocks.
  void Request(int step, BatchDone done);
  // Gives up what is more than this window's share of the budget, which has become smaller.
  void ShareChanged();

 private:
  struct Entry {
    SharedBatch batch;  // empty while it is being produced
    std::vector<BatchDone> waiting;
    std::shared_ptr<BatchWindow> self;  // set while anybody waits
  };

  void Wait(Entry& entry, BatchDone&& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False: the workers are taken, and there is no entry.
  bool StartProduction(int step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(int step, absl::StatusOr<SharedBatch> batch);
  void ProduceAhead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Recompute(int step, BatchDone done);

  const std::shared_ptr<const BatchProducer> producer_;
  WorkerPool& workers_;
  WindowBudget& budget_;
  Mutex mutex_;
  std::map<int, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  int fastest_ ABSL_GUARDED_BY(mutex_) = -1;  // greatest step asked for
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t counted_ ABSL_GUARDED_BY(mutex_) = 0;  // of bytes_, what the budget knows
};

// The windows of all plans and epochs that have consumers. Thread-safe.
class WindowRoom {
 public:
  WindowRoom(int64_t max_bytes, int workers) : budget_(max_bytes), workers_(workers) {}

  // The window of (plan, epoch): an existing one, or a new one from `make`. `plan` tells plans
  // apart. What cannot be made leaves nothing behind.
  absl::StatusOr<std::shared_ptr<BatchWindow>> Open(
      const std::string& plan, int epoch,
      const std::function<absl::StatusOr<std::shared_ptr<BatchProducer>>()>& make);

  WindowBudget::Stats stats() const { return budget_.stats(); }
  // Ends production; requests are answered UNAVAILABLE from now on.
  void Stop() { workers_.Stop(); }

 private:
  // nullptr: none, or not any more.
  std::shared_ptr<BatchWindow> Living(const std::string& key) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  WindowBudget budget_;
  WorkerPool workers_;
  Mutex mutex_;
  std::map<std::string, std::weak_ptr<BatchWindow>> windows_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::data
