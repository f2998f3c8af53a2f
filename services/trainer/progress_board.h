// What a task tells about itself, between the training thread that writes and the session that
// sends.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "atelier/v1/fleet_service.pb.h"
#include "common/concurrency/mutex.h"

namespace atelier::trainer {

// Thread-safe.
class ProgressBoard {
 public:
  void Begin(const v1::Lease& lease, int epochs) {
    MutexLock lock(mutex_);
    current_.Clear();
    under_way_.Clear();
    waiting_.Clear();
    last_news_ = 0;
    *current_.mutable_lease() = lease;
    current_.set_epochs(epochs);
  }
  void SetPhase(const std::string& phase) {
    MutexLock lock(mutex_);
    current_.set_phase(phase);
  }
  void SetPosition(const v1::DataCursor& cursor, int steps_in_epoch, double loss, double accuracy,
                   double images_per_second) {
    MutexLock lock(mutex_);
    *current_.mutable_cursor() = cursor;
    current_.set_steps_in_epoch(steps_in_epoch);
    current_.set_loss(loss);
    current_.set_accuracy(accuracy);
    current_.set_images_per_second(images_per_second);
  }
  void AddLogLine(std::string line) {
    MutexLock lock(mutex_);
    waiting_.add_log_lines(std::move(line));
  }
  void AddEpoch(const v1::EpochMetrics& metrics) {
    MutexLock lock(mutex_);
    *waiting_.add_finished_epochs() = metrics;
  }

  // The message numbered `sequence`: position, and the oldest news that were not acknowledged. Each
  // message carries the same ones until they are, so that what could not be stored, or whose
  // acknowledgement was lost, comes again under its number, and in order.
  v1::TaskProgress Take(int64_t sequence) {
    MutexLock lock(mutex_);
    if (under_way_.news() == 0 && HasNews(waiting_)) {
      under_way_.Swap(&waiting_);
      under_way_.set_news(++last_news_);
    }
    v1::TaskProgress progress = current_;
    progress.MergeFrom(under_way_);
    progress.set_sequence(sequence);
    return progress;
  }
  // Sends what is new now, also over a stream that has to be opened again, and returns when it is
  // stored, the task is abandoned or half a minute (in a drain two seconds) is over; set by the
  // session.
  void SetFlush(std::function<void()> flush) { flush_ = std::move(flush); }
  // Before a task's end is reported: the last epoch must be known by then.
  void Flush() {
    if (flush_) flush_();
  }
  // The coordinator has stored the news up to this number.
  void Acknowledge(int64_t news) {
    MutexLock lock(mutex_);
    if (news >= under_way_.news()) under_way_.Clear();
  }
  // Nothing is left to tell but the position.
  bool AllStored() const {
    MutexLock lock(mutex_);
    return under_way_.news() == 0 && !HasNews(waiting_);
  }

 private:
  static bool HasNews(const v1::TaskProgress& progress) {
    return progress.finished_epochs_size() > 0 || progress.log_lines_size() > 0;
  }

  std::function<void()> flush_;  // set before the first task
  mutable Mutex mutex_;
  v1::TaskProgress current_ ABSL_GUARDED_BY(mutex_);    // without news
  v1::TaskProgress under_way_ ABSL_GUARDED_BY(mutex_);  // only news; none: the last are stored
  v1::TaskProgress waiting_ ABSL_GUARDED_BY(mutex_);    // only news, not numbered yet
  int64_t last_news_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace atelier::trainer
