#include "services/cli/weights/progress_line.h"

#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>

namespace atelier::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPipedEvery{5};
constexpr std::string_view kClearLine = "\r\x1b[K";

class Printer {
 public:
  explicit Printer(std::string prefix) : prefix_(std::move(prefix)) {}
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;
  ~Printer() {
    if (open_) std::cerr << std::endl;
  }

  void Print(std::string_view line, bool transient) {
    if (terminal_) {
      std::cerr << (open_ ? kClearLine : "") << prefix_ << line;
      open_ = transient;
      if (open_) {
        std::cerr << std::flush;
      } else {
        std::cerr << std::endl;
      }
      return;
    }
    const Clock::time_point now = Clock::now();
    if (transient && now - printed_ < kPipedEvery) return;
    printed_ = now;
    std::cerr << prefix_ << line << std::endl;
  }

 private:
  const std::string prefix_;
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool open_ = false;  // a transient line stands there
  Clock::time_point printed_{};
};

}  // namespace

WeightsProgress PrintWeightsProgress(const std::string& prefix) {
  const auto printer = std::make_shared<Printer>(prefix);
  return [printer](std::string_view line, bool transient) { printer->Print(line, transient); };
}

}  // namespace atelier::cli
