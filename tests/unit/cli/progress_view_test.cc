#include "services/cli/progress_view.h"

#include <gmock/gmock.h>

#include "tests/testing/fake_clock.h"

namespace atelier::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::RunEvent Progress(const std::string& member, int epoch, int step) {
  v1::RunEvent event;
  v1::TaskProgress& p = *event.mutable_progress();
  p.mutable_lease()->set_member(member);
  p.mutable_lease()->set_stage("train");
  p.mutable_cursor()->set_epoch(epoch);
  p.mutable_cursor()->set_step(step);
  p.set_epochs(4);
  p.set_steps_in_epoch(100);
  p.set_loss(0.5);
  p.set_accuracy(0.84);
  p.set_images_per_second(8);
  p.set_phase("training");
  return event;
}

v1::RunEvent EpochDone(const std::string& member) {
  v1::RunEvent event;
  v1::TaskEvent& task = *event.mutable_task();
  task.set_member(member);
  task.set_stage("train");
  task.set_state(v1::TASK_RUNNING);
  v1::EpochMetrics& epoch = *task.add_finished_epochs();
  epoch.set_epoch(1);
  epoch.set_loss(0.5);
  epoch.set_accuracy(0.8);
  epoch.set_val_loss(0.4);
  epoch.set_val_accuracy(0.951);
  epoch.set_seconds(65);
  return event;
}

class ProgressViewTest : public ::testing::Test {
 protected:
  ProgressView Make(bool terminal, int width = 200) {
    ProgressOptions options;
    options.terminal = terminal;
    options.width = width;
    options.members = {"xception", "lite"};
    options.stages = {"train"};
    options.batch_size = 16;
    return ProgressView(options, clock_, [this](std::string_view text) { text_ += text; });
  }

  testing::FakeClock clock_;
  std::string text_;
};

TEST_F(ProgressViewTest, PlainLinesHaveNoEscapeSequences) {
  ProgressView view = Make(false);
  view.OnEvent(Progress("xception", 1, 50));
  view.OnEvent(EpochDone("xception"));
  EXPECT_THAT(text_, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text_, HasSubstr("xception train: training, epoch 2/4 step 50/100, loss 0.5000, acc "
                               "84.0 %, 8.0 images/s"));
  EXPECT_THAT(text_, HasSubstr("xception train: epoch 2 done in 1:05: loss 0.5000, acc 80.0 %, "
                               "val_loss 0.4000, val_acc 95.1 %\n"));
}

TEST_F(ProgressViewTest, PlainLinesComeAtTheIntervalOnly) {
  ProgressView view = Make(false);
  view.OnEvent(Progress("xception", 0, 1));
  const size_t after_first = text_.size();
  clock_.Advance(std::chrono::seconds(9));
  view.OnEvent(Progress("xception", 0, 9));
  EXPECT_EQ(text_.size(), after_first);
  clock_.Advance(std::chrono::seconds(1));
  view.OnEvent(Progress("xception", 0, 10));
  EXPECT_THAT(text_, HasSubstr("step 10/100"));
}

TEST_F(ProgressViewTest, TerminalShowsOneLinePerMemberAndRedrawsInPlace) {
  ProgressView view = Make(true);
  view.OnEvent(Progress("xception", 1, 50));
  EXPECT_EQ(std::count(text_.begin(), text_.end(), '\n'), 2);
  EXPECT_THAT(text_, HasSubstr("lite"));
  text_.clear();
  view.OnEvent(Progress("xception", 2, 0));
  EXPECT_THAT(text_, HasSubstr("\x1b[2A"));
  EXPECT_THAT(text_, HasSubstr(" 50 %  epoch 3/4  loss 0.500  acc 84.0 %"));
  // 200 steps of 16 pictures at 8 a second.
  EXPECT_THAT(text_, HasSubstr("6:40 left"));
}

TEST_F(ProgressViewTest, TerminalLinesAreCutToTheWidth) {
  ProgressView view = Make(true, 40);
  view.OnEvent(Progress("xception", 1, 50));
  for (size_t begin = 0; begin < text_.size();) {
    const size_t end = text_.find('\n', begin);
    const std::string line = text_.substr(begin, end - begin);
    size_t characters = 0;
    for (const char c : line) characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    EXPECT_LE(characters - std::string("\r\x1b[2K").size(), 39U) << line;
    begin = end + 1;
  }
}

TEST_F(ProgressViewTest, TellsAFailureWithItsCause) {
  ProgressView view = Make(false);
  v1::RunEvent event;
  event.mutable_task()->set_member("lite");
  event.mutable_task()->set_stage("train");
  event.mutable_task()->set_state(v1::TASK_FAILED);
  event.mutable_task()->set_text("weights do not fit");
  view.OnEvent(event);
  EXPECT_EQ(text_, "lite train: failed, weights do not fit\n");
}

TEST_F(ProgressViewTest, PassesTheNotebooksEpochLinesOn) {
  ProgressView view = Make(false);
  v1::RunEvent event;
  event.mutable_task()->set_member("lite");
  event.mutable_task()->set_stage("train");
  event.mutable_task()->set_state(v1::TASK_RUNNING);
  event.mutable_task()->add_log_lines("* [Epoch 1] begins at 18:00:01");
  view.OnEvent(event);
  EXPECT_THAT(text_, HasSubstr("lite  * [Epoch 1] begins at 18:00:01\n"));
}

}  // namespace
}  // namespace atelier::cli
