#include "common/concurrency/shutdown.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

namespace atelier {
namespace {

// pause(), not a future that never comes: ThreadSanitizer hands a signal to a thread that waits in
// a call of libc, and std::future's is none.
[[noreturn]] void WaitForEver() {
  while (true) ::pause();
}

TEST(ShutdownSignals, CallsTheHandlerOnceWithTheSignal) {
  std::promise<int> got;
  {
    ShutdownSignals signals([&](int signal) { got.set_value(signal); });
    ::kill(::getpid(), SIGTERM);
    EXPECT_EQ(got.get_future().get(), SIGTERM);
    ::kill(::getpid(), SIGTERM);  // a second set_value would throw
  }
}

// OpenBLAS starts threads before main; a signal that one of them takes must not end the process.
TEST(ShutdownSignals, AnOlderThreadThatTakesTheSignalIsNoDanger) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::thread older(WaitForEver);
    std::promise<int> got;
    int received = 0;
    {
      ShutdownSignals signals([&](int signal) { got.set_value(signal); });
      // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread): it must not die of it
      ::pthread_kill(older.native_handle(), SIGTERM);
      received = got.get_future().get();
    }
    ::_exit(received == SIGTERM ? 7 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(ShutdownSignals, IsDestroyedWithoutASignal) {
  ShutdownSignals signals([](int) { FAIL(); });
}

TEST(ShutdownSignals, ASecondInterruptEndsTheProcessWithCode130) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Draining that never ends: only the second signal helps.
    ShutdownSignals signals([](int) {
      ::kill(::getpid(), SIGINT);
      WaitForEver();
    });
    ::kill(::getpid(), SIGINT);
    WaitForEver();
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

}  // namespace
}  // namespace atelier
