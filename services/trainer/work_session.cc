#include "services/trainer/work_session.h"

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "common/base/logging.h"
#include "common/concurrency/mutex.h"

namespace atelier::trainer {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kProgressInterval{1'000};
constexpr std::chrono::milliseconds kReconnectPause{300};
constexpr std::chrono::milliseconds kDefaultTtl{15'000};
// Of a coordinator that is there and stores nothing; one that is away ends the lease before.
constexpr std::chrono::seconds kFlushTimeout{30};
// Likewise during a drain, which has its own grace.
constexpr std::chrono::seconds kDrainFlushTimeout{2};

bool SameLease(const v1::Lease& a, const v1::Lease& b) {
  return a.run_id() == b.run_id() && a.member() == b.member() && a.stage() == b.stage() &&
         a.epoch() == b.epoch();
}

// A task that was assigned: waiting for the training thread, or on it.
struct Work {
  v1::Assignment assignment;
  StopSignal stop;
  // The task stops itself then; moved on by the coordinator's answers.
  SteadyTime valid_until{};
};

class WorkSessionImpl final : public WorkSession {
 public:
  WorkSessionImpl(coordinator::FleetClient& fleet, v1::TrainerHello hello, RunTask run_task,
                  const Clock& clock)
      : fleet_(fleet), hello_(std::move(hello)), run_task_(std::move(run_task)), clock_(clock) {
    board_.SetFlush([this] { Flush(); });
    training_ = std::thread([this] { Train(); });
    reporting_ = std::thread([this] { Report(); });
    connecting_ = std::thread([this] { Connect(); });
  }

  ~WorkSessionImpl() override { Drain(); }

  void Drain() override {
    {
      MutexLock lock(mutex_);
      if (draining_) return;
      draining_ = true;
      if (next_ != nullptr) next_->stop.Stop(StopReason::kDrain);
      if (current_ != nullptr) current_->stop.Stop(StopReason::kDrain);
      if (stream_ != nullptr) {
        v1::TrainerMessage message;
        message.mutable_draining();
        stream_->Send(message);
      }
      changed_.NotifyAll();
    }
    training_.join();
    {
      MutexLock lock(mutex_);
      closed_ = true;
      if (stream_ != nullptr) stream_->Cancel();
      changed_.NotifyAll();
    }
    connecting_.join();
    reporting_.join();
  }

 private:
  // The thread that tasks run on: LibTorch leaks per new thread.
  void Train() {
    while (true) {
      std::shared_ptr<Work> work;
      {
        MutexLock lock(mutex_);
        changed_.Wait(
            mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return next_ != nullptr || draining_; });
        if (next_ == nullptr) return;
        current_ = std::move(next_);
        next_ = nullptr;
        work = current_;
        board_.Begin(work->assignment.lease(), work->assignment.stage().epochs());
      }
      LogInfo("task %s/%s of %s, lease %d", work->assignment.lease().member(),
              work->assignment.lease().stage(), work->assignment.lease().run_id(),
              work->assignment.lease().epoch());
      run_task_(work->assignment, board_, work->stop);
      MutexLock lock(mutex_);
      current_ = nullptr;
      changed_.NotifyAll();
    }
  }

  // Keeps a stream open and handles what comes down.
  void Connect() {
    while (true) {
      std::shared_ptr<coordinator::WorkStream> stream = fleet_.OpenWork();
      v1::TrainerMessage message;
      {
        MutexLock lock(mutex_);
        if (closed_) return;
        *message.mutable_hello() = hello_;
        message.mutable_hello()->set_draining(draining_);
        const std::shared_ptr<Work> held = Held();
        if (held != nullptr) *message.mutable_hello()->mutable_current() = held->assignment.lease();
      }
      if (stream->Send(message)) {
        {
          MutexLock lock(mutex_);
          if (closed_) return;  // since the hello was written: nobody would cancel this stream
          stream_ = stream;
          sent_at_.clear();
          changed_.NotifyAll();
        }
        while (auto received = stream->Receive()) Handle(*received);
        MutexLock lock(mutex_);
        stream_ = nullptr;
        changed_.NotifyAll();
      }
      const absl::Status status = stream->Finish();
      MutexLock lock(mutex_);
      if (closed_) return;
      if (connected_) LogWarning("lost the coordinator (%s); reconnecting", status.ToString());
      connected_ = false;
      changed_.WaitFor(mutex_, kReconnectPause,
                       [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_; });
      if (closed_) return;
    }
  }

  void Handle(const v1::CoordinatorMessage& message) {
    MutexLock lock(mutex_);
    if (message.has_welcome()) {
      ttl_ = std::chrono::milliseconds(message.welcome().lease_ttl_ms());
      if (!connected_) LogInfo("connected to the coordinator, lease %d ms", ttl_.count());
      connected_ = true;
    } else if (message.has_assignment()) {
      // It may come while a cancelled task is still winding down: the training thread takes it
      // next.
      next_ = std::make_shared<Work>();
      next_->assignment = message.assignment();
      next_->valid_until = clock_.Now() + SelfStop();
      if (draining_) next_->stop.Stop(StopReason::kDrain);
    } else if (message.has_cancel()) {
      Abandon(message.cancel().lease(), message.cancel().reason());
    } else if (message.has_renewed()) {
      Renew(message.renewed());
    } else if (message.has_drain()) {
      if (current_ != nullptr) current_->stop.Stop(StopReason::kDrain);
    }
    changed_.NotifyAll();
  }

  void Renew(const v1::LeaseRenewed& renewed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto sent = sent_at_.find(renewed.sequence());
    if (sent == sent_at_.end()) return;
    for (const std::shared_ptr<Work>& work : {current_, next_}) {
      if (work != nullptr && SameLease(work->assignment.lease(), renewed.lease())) {
        work->valid_until = std::max(work->valid_until, sent->second + SelfStop());
        // The board is the running task's alone.
        if (work == current_) board_.Acknowledge(renewed.news_stored());
      }
    }
    sent_at_.erase(sent_at_.begin(), std::next(sent));
  }

  void Abandon(const v1::Lease& lease, const std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const std::shared_ptr<Work>& work : {current_, next_}) {
      if (work != nullptr && SameLease(work->assignment.lease(), lease) &&
          work->stop.reason() != StopReason::kAbandon) {
        LogWarning("task %s/%s given up: %s", lease.member(), lease.stage(), reason);
        work->stop.Stop(StopReason::kAbandon);
        changed_.NotifyAll();
      }
    }
  }

  // The task that the coordinator has given to this trainer: while a cancelled one winds down, the
  // one that waits for it.
  std::shared_ptr<Work> Held() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const std::shared_ptr<Work>& work : {current_, next_}) {
      if (work != nullptr && work->stop.reason() != StopReason::kAbandon) return work;
    }
    return nullptr;
  }

  // A trainer stops by itself before the coordinator may give the task to somebody else.
  std::chrono::milliseconds SelfStop() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ttl_ * 2 / 3;
  }

  // On the training thread. The coordinator may be restarting: what the old stream did not carry
  // goes with the next one.
  void Flush() {
    const SteadyTime until = std::chrono::steady_clock::now() + kFlushTimeout;
    MutexLock lock(mutex_);
    const auto given_up = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return current_ == nullptr || current_->stop.reason() == StopReason::kAbandon;
    };
    do {
      const bool there = changed_.WaitUntil(mutex_, until, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return stream_ != nullptr || given_up();
      });
      if (!there || given_up()) return;
      const std::shared_ptr<coordinator::WorkStream> stream = stream_;
      const int64_t sequence = SendProgress(*current_);
      const bool draining = current_->stop.reason() == StopReason::kDrain;
      const SteadyTime answered_by =
          draining ? std::min(until, std::chrono::steady_clock::now() + kDrainFlushTimeout) : until;
      // What this message did not carry, or could not be stored, goes with the next reports.
      if (!changed_.WaitUntil(mutex_, answered_by, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
            return stream_ != stream || given_up() ||
                   (!sent_at_.contains(sequence) && board_.AllStored());
          })) {
        return;
      }
    } while (!board_.AllStored());
  }

  int64_t SendProgress(const Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t sequence = ++sequence_;
    v1::TrainerMessage message;
    v1::TaskProgress& progress = *message.mutable_progress();
    if (&work == current_.get()) {
      progress = board_.Take(sequence);
    } else {
      // Nothing to tell, but its lease has to be renewed.
      *progress.mutable_lease() = work.assignment.lease();
      progress.set_epochs(work.assignment.stage().epochs());
      progress.set_phase("waiting");
      progress.set_sequence(sequence);
    }
    sent_at_[sequence] = clock_.Now();
    // A full send buffer blocks here only while the coordinator does not read; its stop ends the
    // call.
    const std::shared_ptr<coordinator::WorkStream> stream = stream_;
    stream->Send(message);
    return sequence;
  }

  // Sends progress or a heartbeat at each interval, and watches the leases.
  void Report() {
    while (true) {
      MutexLock lock(mutex_);
      const auto interval = std::min<std::chrono::milliseconds>(kProgressInterval, ttl_ / 6);
      changed_.WaitFor(mutex_, interval, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_; });
      if (closed_) return;
      for (const std::shared_ptr<Work>& work : {current_, next_}) {
        if (work != nullptr && clock_.Now() > work->valid_until) {
          Abandon(work->assignment.lease(),
                  "the coordinator has not been heard of for two thirds of the lease");
        }
      }
      if (stream_ == nullptr) continue;
      if (const std::shared_ptr<Work> held = Held(); held != nullptr) {
        SendProgress(*held);
      } else {
        v1::TrainerMessage message;
        message.mutable_heartbeat();
        const std::shared_ptr<coordinator::WorkStream> stream = stream_;
        stream->Send(message);
      }
    }
  }

  coordinator::FleetClient& fleet_;
  const v1::TrainerHello hello_;
  const RunTask run_task_;
  const Clock& clock_;
  ProgressBoard board_;

  Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<coordinator::WorkStream> stream_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Work> current_ ABSL_GUARDED_BY(mutex_);  // on the training thread
  std::shared_ptr<Work> next_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, SteadyTime> sent_at_ ABSL_GUARDED_BY(mutex_);
  std::chrono::milliseconds ttl_ ABSL_GUARDED_BY(mutex_) = kDefaultTtl;
  int64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread training_;
  std::thread reporting_;
  std::thread connecting_;
};

}  // namespace

std::unique_ptr<WorkSession> WorkSession::Start(coordinator::FleetClient& fleet,
                                                v1::TrainerHello hello, RunTask run_task,
                                                const Clock& clock) {
  return std::make_unique<WorkSessionImpl>(fleet, std::move(hello), std::move(run_task), clock);
}

}  // namespace atelier::trainer
