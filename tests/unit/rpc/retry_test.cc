#include "common/rpc/retry.h"

#include <gtest/gtest.h>

#include <vector>

namespace atelier::rpc {
namespace {

struct RecordingSleeper {
  std::vector<int64_t> pauses;
  bool go_on = true;
  Sleeper fn() {
    return [this](std::chrono::milliseconds pause) {
      pauses.push_back(pause.count());
      return go_on;
    };
  }
};

TEST(RetryUnavailable, RetriesOnlyUnavailableAndBacksOff) {
  RecordingSleeper sleeper;
  int calls = 0;
  const absl::Status status = RetryUnavailable({}, sleeper.fn(), [&] {
    return ++calls < 3 ? absl::UnavailableError("down") : absl::OkStatus();
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(calls, 3);
  ASSERT_EQ(sleeper.pauses.size(), 2u);
  EXPECT_GE(sleeper.pauses[0], 50);
  EXPECT_LE(sleeper.pauses[0], 100);
  EXPECT_GE(sleeper.pauses[1], 100);
  EXPECT_LE(sleeper.pauses[1], 200);
}

TEST(RetryUnavailable, GivesUpAfterTheLastAttempt) {
  RecordingSleeper sleeper;
  int calls = 0;
  const absl::Status status = RetryUnavailable({}, sleeper.fn(), [&] {
    ++calls;
    return absl::UnavailableError("down");
  });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(calls, 4);
}

TEST(RetryUnavailable, OtherErrorsComeBackAtOnce) {
  RecordingSleeper sleeper;
  int calls = 0;
  const absl::Status status = RetryUnavailable({}, sleeper.fn(), [&] {
    ++calls;
    return absl::AbortedError("stale");
  });
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(calls, 1);
}

TEST(RetryUnavailable, AShutdownEndsTheWaiting) {
  RecordingSleeper sleeper;
  sleeper.go_on = false;
  int calls = 0;
  EXPECT_FALSE(RetryUnavailable({}, sleeper.fn(), [&] {
                 ++calls;
                 return absl::UnavailableError("down");
               }).ok());
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace atelier::rpc
