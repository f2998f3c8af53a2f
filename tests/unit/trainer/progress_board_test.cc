#include "services/trainer/progress_board.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace atelier::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Lines(const v1::TaskProgress& progress) {
  return {progress.log_lines().begin(), progress.log_lines().end()};
}

TEST(ProgressBoard, NewsComeWithEveryMessageUntilTheyAreStored) {
  ProgressBoard board;
  board.Begin({}, 3);
  EXPECT_EQ(board.Take(1).news(), 0);
  EXPECT_TRUE(board.AllStored());
  board.AddLogLine("first");
  v1::EpochMetrics epoch;
  epoch.set_epoch(7);
  board.AddEpoch(epoch);
  for (int64_t sequence = 2; sequence < 5; ++sequence) {
    const v1::TaskProgress progress = board.Take(sequence);
    EXPECT_EQ(progress.sequence(), sequence);
    EXPECT_EQ(progress.epochs(), 3);
    EXPECT_EQ(progress.news(), 1);
    EXPECT_THAT(Lines(progress), ElementsAre("first"));
    ASSERT_EQ(progress.finished_epochs_size(), 1);
    EXPECT_EQ(progress.finished_epochs(0).epoch(), 7);
    board.Acknowledge(0);  // the message arrived, its news could not be stored
    EXPECT_FALSE(board.AllStored());
  }
  board.Acknowledge(1);
  EXPECT_TRUE(board.AllStored());
  EXPECT_EQ(board.Take(5).news(), 0);
  EXPECT_THAT(Lines(board.Take(6)), IsEmpty());
}

// One number stands for the same news always: what comes later waits for the next number.
TEST(ProgressBoard, LaterNewsWaitForThoseUnderWay) {
  ProgressBoard board;
  board.Begin({}, 3);
  board.AddLogLine("first");
  board.Take(1);
  board.AddLogLine("second");
  board.AddLogLine("third");
  EXPECT_THAT(Lines(board.Take(2)), ElementsAre("first"));
  board.Acknowledge(1);
  EXPECT_FALSE(board.AllStored());
  const v1::TaskProgress next = board.Take(3);
  EXPECT_EQ(next.news(), 2);
  EXPECT_THAT(Lines(next), ElementsAre("second", "third"));
  board.Acknowledge(1);  // the late answer to an earlier message
  EXPECT_EQ(board.Take(4).news(), 2);
}

TEST(ProgressBoard, AnotherTaskBeginsWithoutNewsAndAtOne) {
  ProgressBoard board;
  board.Begin({}, 3);
  board.AddLogLine("under way");
  board.Take(1);
  board.AddLogLine("waiting");
  board.Begin({}, 3);
  EXPECT_TRUE(board.AllStored());
  board.AddLogLine("the new task's");
  const v1::TaskProgress progress = board.Take(2);
  EXPECT_EQ(progress.news(), 1);
  EXPECT_THAT(Lines(progress), ElementsAre("the new task's"));
}

}  // namespace
}  // namespace atelier::trainer
