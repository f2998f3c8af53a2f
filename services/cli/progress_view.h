// A run's events as a person watches them: one live line per member on a terminal, plain lines when
// piped.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "atelier/v1/coordinator.pb.h"
#include "common/base/clock.h"

namespace atelier::cli {

struct ProgressOptions {
  bool terminal = false;
  int width = 80;                           // columns of the terminal; lines are cut, never wrapped
  std::vector<std::string> members;         // lines in this order, before their first event too
  std::vector<std::string> stages;          // of the plan: "stage 2/3"
  int batch_size = 1;                       // for the time left
  std::chrono::seconds plain_interval{10};  // between two plain progress lines of a member
};

// Not thread-safe.
class ProgressView {
 public:
  // `write` gets text for standard error, escape sequences included when `terminal`.
  ProgressView(ProgressOptions options, const Clock& clock,
               std::function<void(std::string_view)> write);

  void OnEvent(const v1::RunEvent& event);
  // A line above the live ones.
  void Say(std::string_view line);
  // Leaves the live lines as they are and the cursor below them.
  void Finish();

 private:
  struct Line {
    std::string stage;
    std::string state = "waiting";
    v1::TaskProgress progress;
    double val_accuracy = -1;
    std::chrono::steady_clock::time_point next_plain{};
  };

  void OnTask(const v1::TaskEvent& task);
  void OnProgress(const v1::TaskProgress& progress);
  std::string LiveLine(const std::string& member, const Line& line) const;
  std::string PlainLine(const std::string& member, const Line& line) const;
  std::string Left(const v1::TaskProgress& progress) const;
  void Redraw();
  Line& LineOf(const std::string& member);

  const ProgressOptions options_;
  const Clock& clock_;
  const std::function<void(std::string_view)> write_;
  std::vector<std::string> order_;
  std::map<std::string, Line> lines_;
  size_t drawn_ = 0;  // live lines on the screen now
};

// Of standard error; 80 when it is no terminal.
int TerminalWidth();
bool StandardErrorIsTerminal();

}  // namespace atelier::cli
