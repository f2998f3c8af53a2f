#include "services/trainer/work_session.h"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/testing/fake_clock.h"

namespace atelier::trainer {
namespace {

// False breaks the stream.
using OnSend = std::function<bool(const v1::TrainerMessage&)>;

// A coordinator that never says anything: a stream ends only when it is cancelled or broken.
class SilentStream final : public coordinator::WorkStream {
 public:
  explicit SilentStream(OnSend on_send) : on_send_(std::move(on_send)) {}
  ~SilentStream() override { Cancel(); }
  bool Send(const v1::TrainerMessage& message) override {
    if (on_send_(message)) return true;
    Cancel();
    return false;
  }
  std::optional<v1::CoordinatorMessage> Receive() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return cancelled_; });
    return std::nullopt;
  }
  void Cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    ended_.notify_all();
  }
  absl::Status Finish() override { return absl::CancelledError(); }

 private:
  const OnSend on_send_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool cancelled_ = false;
};

class SilentFleet final : public coordinator::FleetClient {
 public:
  explicit SilentFleet(OnSend on_send) : on_send_(std::move(on_send)) {}
  std::unique_ptr<coordinator::WorkStream> OpenWork() override {
    return std::make_unique<SilentStream>(on_send_);
  }
  absl::Status CommitCheckpoint(v1::CommitCheckpointRequest) override { return absl::OkStatus(); }
  absl::Status FinishTask(v1::FinishTaskRequest) override { return absl::OkStatus(); }
  absl::StatusOr<v1::ListFleetResponse> ListFleet() override { return v1::ListFleetResponse(); }

 private:
  const OnSend on_send_;
};

// Dies with its thread.
thread_local std::shared_ptr<void> at_thread_end;

// A stream is opened, and its hello still under way, when the trainer is told to stop.
TEST(WorkSession, DrainsWhileTheHelloIsUnderWay) {
  std::promise<void> second_hello;
  std::promise<void> closed;
  std::atomic<int> hellos = 0;
  SilentFleet fleet([&](const v1::TrainerMessage& message) {
    if (message.has_heartbeat() && at_thread_end.use_count() == 0) {
      // This thread ends when the drain has come to closing, and has no stream to cancel.
      at_thread_end = std::shared_ptr<void>(nullptr, [&closed](void*) { closed.set_value(); });
    }
    if (message.has_hello() && ++hellos == 2) {
      second_hello.set_value();
      closed.get_future().wait();
    }
    return !message.has_heartbeat();
  });
  const testing::FakeClock clock;
  const auto session = WorkSession::Start(
      fleet, {}, [](const v1::Assignment&, ProgressBoard&, StopSignal&) {}, clock);
  second_hello.get_future().wait();
  auto drained = std::async(std::launch::async, [&] { session->Drain(); });
  ASSERT_EQ(drained.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

// A coordinator that says what the test puts into `down`, and renews every lease it hears of.
class RenewingFleet final : public coordinator::FleetClient {
 public:
  explicit RenewingFleet(std::chrono::milliseconds ttl) {
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_lease_ttl_ms(static_cast<int>(ttl.count()));
    Say(welcome);
  }
  // A task of this member.
  void Assign(const std::string& member) {
    v1::CoordinatorMessage message;
    message.mutable_assignment()->mutable_lease()->set_member(member);
    Say(message);
  }
  void Say(const v1::CoordinatorMessage& message) {
    const std::lock_guard lock(mutex_);
    down_.push_back(message);
    changed_.notify_all();
  }
  // True once the session has taken in `count` further renewals of `member`.
  bool Renewed(const std::string& member, int count) {
    std::unique_lock lock(mutex_);
    const int until = taken_[member] + count;
    return changed_.wait_for(lock, kPatience, [&] { return taken_[member] >= until; });
  }
  // True once the session has begun `count` further rounds of reporting.
  bool Reported(int count) {
    std::unique_lock lock(mutex_);
    const int until = sent_ + count;
    return changed_.wait_for(lock, kPatience, [&] { return sent_ >= until; });
  }
  // Returns when the session has noticed that its stream is broken. `for_good`: none is opened
  // again.
  void Break(bool for_good) {
    std::unique_lock lock(mutex_);
    const int until = finished_ + 1;
    away_ = for_good;
    broken_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return finished_ >= until; });
  }
  // The next so many messages with news are answered, but their news are not stored.
  void RefuseNews(int messages) {
    const std::lock_guard lock(mutex_);
    refusals_ = messages;
  }
  // The lines that were stored.
  std::vector<std::string> Lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  // That the last progress of `member` told.
  std::string Phase(const std::string& member) {
    const std::lock_guard lock(mutex_);
    return phases_[member];
  }
  std::unique_ptr<coordinator::WorkStream> OpenWork() override {
    const std::lock_guard lock(mutex_);
    broken_ = away_;
    return std::make_unique<Stream>(*this);
  }
  absl::Status CommitCheckpoint(v1::CommitCheckpointRequest) override { return absl::OkStatus(); }
  absl::Status FinishTask(v1::FinishTaskRequest) override { return absl::OkStatus(); }
  absl::StatusOr<v1::ListFleetResponse> ListFleet() override { return v1::ListFleetResponse(); }

 private:
  static constexpr std::chrono::seconds kPatience{20};

  class Stream final : public coordinator::WorkStream {
   public:
    explicit Stream(RenewingFleet& fleet) : fleet_(fleet) {}
    ~Stream() override { Cancel(); }
    bool Send(const v1::TrainerMessage& message) override {
      if (fleet_.IsBroken()) return false;
      if (message.has_progress()) {
        v1::CoordinatorMessage renewed;
        *renewed.mutable_renewed()->mutable_lease() = message.progress().lease();
        renewed.mutable_renewed()->set_sequence(message.progress().sequence());
        renewed.mutable_renewed()->set_news_stored(fleet_.StoreNews(message.progress()));
        fleet_.Say(renewed);
      }
      const std::lock_guard lock(fleet_.mutex_);
      if (message.has_progress()) {
        fleet_.phases_[message.progress().lease().member()] = message.progress().phase();
      }
      ++fleet_.sent_;
      fleet_.changed_.notify_all();
      return true;
    }
    std::optional<v1::CoordinatorMessage> Receive() override {
      std::unique_lock lock(fleet_.mutex_);
      if (last_.has_renewed()) ++fleet_.taken_[last_.renewed().lease().member()];
      fleet_.changed_.notify_all();
      fleet_.changed_.wait(lock,
                           [&] { return cancelled_ || fleet_.broken_ || !fleet_.down_.empty(); });
      if (cancelled_ || fleet_.broken_) return std::nullopt;
      last_ = fleet_.down_.front();
      fleet_.down_.pop_front();
      return last_;
    }
    void Cancel() override {
      const std::lock_guard lock(fleet_.mutex_);
      cancelled_ = true;
      fleet_.changed_.notify_all();
    }
    absl::Status Finish() override {
      const std::lock_guard lock(fleet_.mutex_);
      ++fleet_.finished_;
      fleet_.changed_.notify_all();
      return absl::CancelledError();
    }

   private:
    RenewingFleet& fleet_;
    v1::CoordinatorMessage last_;
    bool cancelled_ = false;
  };

  bool IsBroken() {
    const std::lock_guard lock(mutex_);
    return broken_;
  }
  // Returns the number of the last that are stored, as the coordinator does for one lease.
  int64_t StoreNews(const v1::TaskProgress& progress) {
    const std::lock_guard lock(mutex_);
    if (progress.news() <= news_stored_) return news_stored_;
    if (refusals_ > 0) {
      --refusals_;
      return news_stored_;
    }
    lines_.insert(lines_.end(), progress.log_lines().begin(), progress.log_lines().end());
    return news_stored_ = progress.news();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int refusals_ = 0;
  int64_t news_stored_ = 0;
  std::vector<std::string> lines_;
  std::deque<v1::CoordinatorMessage> down_;
  std::map<std::string, int> taken_;
  std::map<std::string, std::string> phases_;
  int sent_ = 0;
  int finished_ = 0;
  bool broken_ = false;
  bool away_ = false;
};

// The coordinator grants the next task as soon as it has cancelled one; what cannot be interrupted
// (a download, a checkpoint's write) keeps the training thread for longer than a lease.
TEST(WorkSession, ATaskThatWaitsForACancelledOneKeepsItsLease) {
  constexpr std::chrono::milliseconds kTtl{300};
  RenewingFleet fleet(kTtl);
  testing::FakeClock clock;
  std::promise<void> first_runs;
  std::promise<void> first_may_end;
  std::promise<StopReason> second;
  const auto session = WorkSession::Start(
      fleet, {},
      [&](const v1::Assignment& assignment, ProgressBoard&, StopSignal& stop) {
        if (assignment.lease().member() == "first") {
          first_runs.set_value();
          first_may_end.get_future().wait();
        } else {
          fleet.Reported(3);
          second.set_value(stop.reason());
        }
      },
      clock);
  fleet.Assign("first");
  first_runs.get_future().wait();
  v1::CoordinatorMessage cancel;
  cancel.mutable_cancel()->mutable_lease()->set_member("first");
  fleet.Say(cancel);
  fleet.Assign("second");
  bool renewed = true;
  for (int i = 0; i < 8 && renewed; ++i) {
    // The first may have been asked for before the clock was moved.
    renewed = fleet.Renewed("second", 2);
    EXPECT_TRUE(renewed) << i;
    clock.Advance(kTtl / 2);
  }
  EXPECT_EQ(fleet.Phase("second"), "waiting");
  first_may_end.set_value();
  EXPECT_EQ(second.get_future().get(), StopReason::kNone);
}

// The coordinator's disk is full for a while: an epoch is told until it is stored, once.
TEST(WorkSession, NewsThatWereNotStoredAreToldAgainBeforeTheTaskEnds) {
  RenewingFleet fleet(std::chrono::milliseconds(300));
  fleet.RefuseNews(3);
  const testing::FakeClock clock;
  std::promise<std::vector<std::string>> stored;
  const auto session = WorkSession::Start(
      fleet, {},
      [&](const v1::Assignment&, ProgressBoard& board, StopSignal&) {
        board.AddLogLine("epoch 1 ends");
        fleet.Reported(1);
        board.AddLogLine("epoch 2 ends");
        board.Flush();
        stored.set_value(fleet.Lines());
      },
      clock);
  fleet.Assign("a");
  EXPECT_THAT(stored.get_future().get(), ::testing::ElementsAre("epoch 1 ends", "epoch 2 ends"));
}

// The coordinator restarts while the task ends.
TEST(WorkSession, NewsOfATaskThatEndsWithoutAStreamAreToldOverTheNext) {
  RenewingFleet fleet(std::chrono::milliseconds(300));
  const testing::FakeClock clock;
  std::promise<std::vector<std::string>> stored;
  const auto session = WorkSession::Start(
      fleet, {},
      [&](const v1::Assignment&, ProgressBoard& board, StopSignal&) {
        fleet.Break(/*for_good=*/false);
        board.AddLogLine("the last epoch ends");
        board.Flush();
        stored.set_value(fleet.Lines());
      },
      clock);
  fleet.Assign("a");
  EXPECT_THAT(stored.get_future().get(), ::testing::ElementsAre("the last epoch ends"));
}

TEST(WorkSession, NewsAreWaitedForNoLongerThanTheLease) {
  RenewingFleet fleet(std::chrono::milliseconds(300));
  testing::FakeClock clock;
  std::promise<StopReason> ended;
  const auto session = WorkSession::Start(
      fleet, {},
      [&](const v1::Assignment&, ProgressBoard& board, StopSignal& stop) {
        fleet.Break(/*for_good=*/true);
        board.AddLogLine("the last epoch ends");
        clock.Advance(std::chrono::seconds(1));
        board.Flush();
        ended.set_value(stop.reason());
      },
      clock);
  fleet.Assign("a");
  auto reason = ended.get_future();
  // Well below what it waits for a coordinator that is there.
  ASSERT_EQ(reason.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(reason.get(), StopReason::kAbandon);
}

}  // namespace
}  // namespace atelier::trainer
