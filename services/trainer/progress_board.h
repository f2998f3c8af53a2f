// What a task tells about itself, between the training thread that writes and the session that
// sends.
#pragma once

#include <deque>
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
    unacknowledged_.clear();
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
    unacknowledged_.push_back({0, {}, std::move(line)});
  }
  void AddEpoch(const v1::EpochMetrics& metrics) {
    MutexLock lock(mutex_);
    unacknowledged_.push_back({0, metrics, ""});
  }

  // The message numbered `sequence`: position, and the news that no acknowledged message carried.
  v1::TaskProgress Take(int64_t sequence) {
    MutexLock lock(mutex_);
    v1::TaskProgress progress = current_;
    progress.set_sequence(sequence);
    for (News& news : unacknowledged_) {
      if (news.sequence != 0) continue;  // on its way
      news.sequence = sequence;
      if (news.log_line.empty()) {
        *progress.add_finished_epochs() = news.epoch;
      } else {
        progress.add_log_lines(news.log_line);
      }
    }
    return progress;
  }
  // Sends what is new now and waits a little until it was received; set by the session.
  void SetFlush(std::function<void()> flush) { flush_ = std::move(flush); }
  // Before a task's end is reported: the last epoch must be known by then.
  void Flush() {
    if (flush_) flush_();
  }
  void Acknowledge(int64_t sequence) {
    MutexLock lock(mutex_);
    std::erase_if(unacknowledged_, [sequence](const News& news) {
      return news.sequence != 0 && news.sequence <= sequence;
    });
  }
  // A new stream: what was on its way is sent again.
  void Reconnected() {
    MutexLock lock(mutex_);
    for (News& news : unacknowledged_) news.sequence = 0;
  }

 private:
  struct News {
    int64_t sequence = 0;  // of the message that carries it; 0: none yet
    v1::EpochMetrics epoch;
    std::string log_line;
  };
  std::function<void()> flush_;  // set before the first task
  Mutex mutex_;
  v1::TaskProgress current_ ABSL_GUARDED_BY(mutex_);
  std::deque<News> unacknowledged_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::trainer
