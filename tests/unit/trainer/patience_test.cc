#include "services/trainer/patience.h"

#include <gmock/gmock.h>

#include <future>

#include "tests/testing/log_lines.h"
#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

const absl::Status kFull = absl::ResourceExhaustedError("no space left");
const absl::Status kAway = absl::UnavailableError("away");

TEST(Patience, AFullDiskIsWaitedForAndNamedOnce) {
  const StopSignal stop;
  const testing::LogLines log;
  int tries = 0;
  EXPECT_THAT(Patience(stop, std::chrono::milliseconds(1))
                  .Insist("checkpoint", [&] { return ++tries <= 20 ? kFull : absl::OkStatus(); }),
              IsOk());
  EXPECT_EQ(tries, 21);
  EXPECT_EQ(log.Count("no space left"), 1U);
}

TEST(Patience, AnyOtherAnswerIsTheResult) {
  const StopSignal stop;
  EXPECT_THAT(Patience(stop).Insist("x", [] { return absl::AbortedError("fenced"); }),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("fenced")));
}

// The wait is far longer than the test: only the stop ends it.
TEST(Patience, AStopEndsTheWaitForRoom) {
  for (const StopReason reason : {StopReason::kDrain, StopReason::kAbandon}) {
    StopSignal stop;
    std::promise<void> tried;
    auto ended = std::async(std::launch::async, [&] {
      return Patience(stop, std::chrono::hours(1)).Insist("x", [&] {
        tried.set_value();  // throws when it is tried again
        return kFull;
      });
    });
    tried.get_future().wait();
    stop.Stop(reason);
    EXPECT_THAT(ended.get(), StatusIs(reason == StopReason::kDrain ? absl::StatusCode::kCancelled
                                                                   : absl::StatusCode::kAborted,
                                      HasSubstr("disk was full")));
  }
}

TEST(Patience, CloseEndsTheWaitForRoom) {
  const StopSignal stop;
  Patience patience(stop, std::chrono::hours(1));
  std::promise<void> tried;
  auto ended = std::async(std::launch::async, [&] {
    return patience.Insist("x", [&] {
      tried.set_value();
      return kFull;
    });
  });
  tried.get_future().wait();
  patience.Close();
  EXPECT_THAT(ended.get(), StatusIs(absl::StatusCode::kCancelled));
}

// What ends that is the lease.
TEST(Patience, ADrainWaitsForACoordinatorThatIsAwayAndAnAbandonedTaskDoesNot) {
  StopSignal stop;
  stop.Stop(StopReason::kDrain);
  int tries = 0;
  Patience patience(stop, std::chrono::hours(1));
  EXPECT_THAT(patience.Insist("x", [&] { return ++tries < 3 ? kAway : absl::OkStatus(); }), IsOk());
  EXPECT_EQ(tries, 3);
  stop.Stop(StopReason::kAbandon);
  EXPECT_THAT(patience.Insist("x", [&] { return kAway; }), StatusIs(absl::StatusCode::kAborted));
}

}  // namespace
}  // namespace atelier::trainer
