#include "services/cli/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>

namespace atelier::cli {
namespace {

// Of `body` in a process of its own; -1 when a signal ends it.
int ExitCodeOf(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Interrupt, SaysThatASignalCameWhoseActionIsStillRunning) {
  Interrupt interrupt;
  std::promise<void> begun;
  std::promise<void> go_on;
  std::atomic<bool> done{false};
  EXPECT_FALSE(interrupt.SetAction([&] {
    begun.set_value();
    go_on.get_future().wait();
    done = true;
  }));
  ::kill(::getpid(), SIGTERM);
  begun.get_future().wait();
  EXPECT_TRUE(interrupt.SetAction(nullptr));
  go_on.set_value();
  interrupt.WaitHandled();
  EXPECT_TRUE(done);
}

// So a training session that has ended may lose what its action uses.
TEST(Interrupt, AnActionThatWasTakenAwayWithoutASignalNeverRuns) {
  EXPECT_EQ(ExitCodeOf([] {
              Interrupt interrupt;
              interrupt.SetAction([] { ::_exit(9); });
              if (interrupt.SetAction(nullptr)) ::_exit(8);
              ::kill(::getpid(), SIGINT);
              std::promise<void>().get_future().wait();  // the signal ends the process
            }),
            130);
}

}  // namespace
}  // namespace atelier::cli
