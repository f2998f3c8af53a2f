#include "common/rpc/watchdog.h"

#include <atomic>
#include <future>
#include <thread>

#include "common/rpc/health.h"
#include "common/rpc/server.h"
#include "tests/testing/no_descriptors.h"
#include "tests/testing/status_matchers.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};

TEST(Watchdog, GivesUpOnceAfterTheLimitWithTheLastAnswer) {
  constexpr milliseconds kLimit{90};
  std::promise<absl::Status> gave_up;
  std::atomic<int> asked = 0;
  const auto begin = steady_clock::now();
  Watchdog watchdog(
      {kLimit, milliseconds(1)},
      [&](milliseconds patience) {
        EXPECT_EQ(patience, kLimit / 3);
        ++asked;
        return absl::UnavailableError("nobody");
      },
      [&](const absl::Status& last) { gave_up.set_value(last); });  // twice: throws
  auto last = gave_up.get_future();
  ASSERT_EQ(last.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(last.get().message(), "nobody");
  EXPECT_GE(steady_clock::now() - begin, kLimit);
  EXPECT_GE(asked, 3);
}

// As after a SIGSTOP: the limit is long over when the first question fails.
TEST(Watchdog, AsksThreeTimesHoweverLateItIs) {
  std::promise<int> gave_up;
  std::atomic<int> asked = 0;
  Watchdog watchdog(
      {milliseconds(30), milliseconds(1)},
      [&](milliseconds) {
        if (++asked == 1) std::this_thread::sleep_for(milliseconds(100));
        return absl::DeadlineExceededError("late");
      },
      [&](const absl::Status&) { gave_up.set_value(asked); });
  auto questions = gave_up.get_future();
  ASSERT_EQ(questions.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(questions.get(), 3);
}

TEST(Watchdog, AnAnswerBeginsTheCountAnew) {
  std::promise<void> enough;
  std::atomic<int> asked = 0;
  std::atomic<bool> gave_up = false;
  Watchdog watchdog(
      {milliseconds(3), milliseconds(1)},
      [&](milliseconds) {
        // Slower than the limit: only the count holds the watchdog back.
        std::this_thread::sleep_for(milliseconds(5));
        const int n = ++asked;
        if (n == 31) enough.set_value();
        return n % 3 == 0 ? absl::OkStatus() : absl::UnavailableError("a moment");
      },
      [&](const absl::Status&) { gave_up = true; });
  ASSERT_EQ(enough.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(gave_up);
}

TEST(AskHealth, SaysWhetherTheServerServes) {
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start({}, {}));
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  EXPECT_THAT(AskHealth(address, kPatience), IsOkAndHolds(false));
  server->SetServing(true);
  EXPECT_THAT(AskHealth(address, kPatience), IsOkAndHolds(true));
  server->Shutdown(milliseconds(0));
  EXPECT_FALSE(AskHealth(address, kPatience).ok());
}

// The server's descriptors run out: it can accept nobody, and says so on the old connections only.
TEST(RpcServer, NoticesThatItAnswersNoNewConnection) {
  std::promise<void> unanswered;
  ServerOptions options;
  options.watchdog = milliseconds(600);
  options.unanswered = [&] { unanswered.set_value(); };
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start(options, {}));
  auto noticed = unanswered.get_future();
  const testing::NoDescriptors none;
  EXPECT_EQ(noticed.wait_for(kPatience), std::future_status::ready);
}

TEST(RpcServer, AWatchedServerThatAnswersIsLeftAlone) {
  std::atomic<bool> unanswered = false;
  ServerOptions options;
  options.watchdog = milliseconds(3'000);
  options.unanswered = [&] { unanswered = true; };
  ASSERT_OK_AND_ASSIGN(auto server, RpcServer::Start(options, {}));
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const auto end = steady_clock::now() + options.watchdog + milliseconds(500);
  while (steady_clock::now() < end) EXPECT_THAT(AskHealth(address, kPatience), IsOkAndHolds(false));
  server.reset();
  EXPECT_FALSE(unanswered);
}

}  // namespace
}  // namespace atelier::rpc
