#include "services/cli/progress_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/format.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

constexpr int kBarCells = 14;

double Fraction(const v1::TaskProgress& p) {
  const double epochs = std::max(1, p.epochs());
  const double in_epoch =
      p.steps_in_epoch() > 0 ? static_cast<double>(p.cursor().step()) / p.steps_in_epoch() : 0;
  return std::clamp((p.cursor().epoch() + in_epoch) / epochs, 0.0, 1.0);
}

std::string Bar(double fraction) {
  const int full = static_cast<int>(std::lround(fraction * kBarCells));
  std::string bar;
  for (int i = 0; i < kBarCells; ++i) bar += i < full ? "━" : "─";
  return bar;
}

// At most `width` characters of a UTF-8 text.
std::string Cut(const std::string& text, size_t width) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (characters++ == width) return text.substr(0, i);
  }
  return text;
}

}  // namespace

ProgressView::ProgressView(ProgressOptions options, const Clock& clock,
                           std::function<void(std::string_view)> write)
    : options_(std::move(options)),
      clock_(clock),
      write_(std::move(write)),
      order_(options_.members) {
  for (const std::string& member : order_) lines_[member];
}

ProgressView::Line& ProgressView::LineOf(const std::string& member) {
  if (!lines_.contains(member)) order_.push_back(member);
  return lines_[member];
}

void ProgressView::OnEvent(const v1::RunEvent& event) {
  switch (event.event_case()) {
    case v1::RunEvent::kProgress:
      OnProgress(event.progress());
      break;
    case v1::RunEvent::kTask:
      OnTask(event.task());
      break;
    case v1::RunEvent::kRun:
      Say(absl::StrCat("run ", StateName(event.run().state()),
                       event.run().text().empty() ? "" : ": ", event.run().text()));
      break;
    default:
      break;
  }
}

void ProgressView::OnTask(const v1::TaskEvent& task) {
  Line& line = LineOf(task.member());
  if (task.stage() != line.stage) line.progress.Clear();
  line.stage = task.stage();
  const std::string state = StateName(task.state());
  const bool news = state != line.state || !task.text().empty();
  line.state = state;
  for (const v1::EpochMetrics& epoch : task.finished_epochs()) {
    line.val_accuracy = epoch.val_accuracy();
    if (options_.terminal) continue;
    write_(absl::StrFormat(
        "%s %s: epoch %d done in %s: loss %.4f, acc %s, val_loss %.4f, val_acc %s\n", task.member(),
        task.stage(), epoch.epoch() + 1, Duration(epoch.seconds()), epoch.loss(),
        Percent(epoch.accuracy()), epoch.val_loss(), Percent(epoch.val_accuracy())));
  }
  for (const std::string& text : task.log_lines()) Say(absl::StrCat(task.member(), "  ", text));
  const bool said = task.text().empty() || task.text() == state;
  if (news && task.finished_epochs().empty() && task.log_lines().empty()) {
    Say(absl::StrCat(task.member(), " ", task.stage(), ": ", state, said ? "" : ", ",
                     said ? "" : task.text()));
  }
  Redraw();
}

void ProgressView::OnProgress(const v1::TaskProgress& progress) {
  Line& line = LineOf(progress.lease().member());
  line.stage = progress.lease().stage();
  line.state = "running";
  line.progress = progress;
  if (options_.terminal) {
    Redraw();
    return;
  }
  const auto now = clock_.Now();
  if (now < line.next_plain) return;
  line.next_plain = now + options_.plain_interval;
  write_(PlainLine(progress.lease().member(), line) + "\n");
}

std::string ProgressView::Left(const v1::TaskProgress& p) const {
  if (p.images_per_second() <= 0 || p.steps_in_epoch() <= 0) return "";
  const double steps = static_cast<double>(p.epochs()) * p.steps_in_epoch() * (1 - Fraction(p));
  return Duration(steps * options_.batch_size / p.images_per_second()) + " left";
}

std::string ProgressView::PlainLine(const std::string& member, const Line& line) const {
  const v1::TaskProgress& p = line.progress;
  if (p.steps_in_epoch() == 0) return absl::StrCat(member, " ", line.stage, ": starting");
  std::string text =
      absl::StrFormat("%s %s: %s, epoch %d/%d step %d/%d, loss %.4f, acc %s, %.1f images/s", member,
                      line.stage, p.phase().empty() ? "training" : p.phase(),
                      std::min(p.cursor().epoch() + 1, p.epochs()), p.epochs(), p.cursor().step(),
                      p.steps_in_epoch(), p.loss(), Percent(p.accuracy()), p.images_per_second());
  const std::string left = Left(p);
  return left.empty() ? text : absl::StrCat(text, ", ", left);
}

std::string ProgressView::LiveLine(const std::string& member, const Line& line) const {
  size_t width = 0;
  for (const std::string& name : order_) width = std::max(width, name.size());
  std::string text = absl::StrFormat("%-*s  ", static_cast<int>(width), member);
  if (options_.stages.size() > 1 && !line.stage.empty()) absl::StrAppend(&text, line.stage, " ");
  const v1::TaskProgress& p = line.progress;
  if (line.state != "running" || p.epochs() == 0) {
    absl::StrAppend(&text, Bar(line.state == "done" ? 1 : 0), "  ", line.state);
    if (line.val_accuracy >= 0) absl::StrAppend(&text, "  val ", Percent(line.val_accuracy));
    return text;
  }
  absl::StrAppend(
      &text, Bar(Fraction(p)), absl::StrFormat(" %3.0f %%", 100 * Fraction(p)),
      absl::StrFormat("  epoch %d/%d", std::min(p.cursor().epoch() + 1, p.epochs()), p.epochs()));
  if (p.phase() == "training" || p.phase().empty()) {
    absl::StrAppend(&text, absl::StrFormat("  loss %.3f  acc %s", p.loss(), Percent(p.accuracy())));
  } else {
    absl::StrAppend(&text, "  ", p.phase());
  }
  if (line.val_accuracy >= 0) absl::StrAppend(&text, "  val ", Percent(line.val_accuracy));
  if (p.images_per_second() > 0) {
    absl::StrAppend(&text, absl::StrFormat("  %.1f img/s", p.images_per_second()));
  }
  const std::string left = Left(p);
  if (!left.empty()) absl::StrAppend(&text, "  ", left);
  return text;
}

void ProgressView::Redraw() {
  if (!options_.terminal) return;
  std::string text;
  if (drawn_ > 0) absl::StrAppend(&text, "\x1b[", drawn_, "A");
  for (const std::string& member : order_) {
    absl::StrAppend(&text, "\r\x1b[2K",
                    Cut(LiveLine(member, lines_.at(member)),
                        static_cast<size_t>(std::max(20, options_.width - 1))),
                    "\n");
  }
  drawn_ = order_.size();
  write_(text);
}

void ProgressView::Say(std::string_view line) {
  if (!options_.terminal) {
    write_(absl::StrCat(std::string(line), "\n"));
    return;
  }
  std::string text;
  // Up to the first live line and wipe down to the end of the screen.
  if (drawn_ > 0) absl::StrAppend(&text, "\x1b[", drawn_, "A\r\x1b[J");
  absl::StrAppend(&text, std::string(line), "\n");
  drawn_ = 0;
  write_(text);
  Redraw();
}

void ProgressView::Finish() { drawn_ = 0; }

int TerminalWidth() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

bool StandardErrorIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace atelier::cli
