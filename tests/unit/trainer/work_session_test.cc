#include "services/trainer/work_session.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "tests/testing/fake_clock.h"

namespace atelier::trainer {
namespace {

// A coordinator that never says anything: a stream ends only when it is cancelled.
class SilentStream final : public coordinator::WorkStream {
 public:
  explicit SilentStream(std::function<void()> on_send) : on_send_(std::move(on_send)) {}
  ~SilentStream() override { Cancel(); }
  bool Send(const v1::TrainerMessage&) override {
    on_send_();
    return true;
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
  const std::function<void()> on_send_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool cancelled_ = false;
};

class SilentFleet final : public coordinator::FleetClient {
 public:
  explicit SilentFleet(std::function<void()> on_send) : on_send_(std::move(on_send)) {}
  std::unique_ptr<coordinator::WorkStream> OpenWork() override {
    return std::make_unique<SilentStream>(on_send_);
  }
  absl::Status CommitCheckpoint(v1::CommitCheckpointRequest) override { return absl::OkStatus(); }
  absl::Status FinishTask(v1::FinishTaskRequest) override { return absl::OkStatus(); }
  absl::StatusOr<v1::ListFleetResponse> ListFleet() override { return v1::ListFleetResponse(); }

 private:
  const std::function<void()> on_send_;
};

// The stream is opened, and its hello still under way, when the trainer is told to stop.
TEST(WorkSession, DrainsWhileTheHelloIsUnderWay) {
  std::promise<void> hello;
  std::promise<void> draining;
  std::once_flag first;
  SilentFleet fleet([&] {
    std::call_once(first, [&] {
      hello.set_value();
      // The drain has begun when this wait is over, and has nothing to cancel yet.
      draining.get_future().wait();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    });
  });
  const testing::FakeClock clock;
  const auto session = WorkSession::Start(
      fleet, {}, [](const v1::Assignment&, ProgressBoard&, StopSignal&) {}, clock);
  hello.get_future().wait();
  auto drained = std::async(std::launch::async, [&] {
    draining.set_value();
    session->Drain();
  });
  ASSERT_EQ(drained.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

}  // namespace
}  // namespace atelier::trainer
