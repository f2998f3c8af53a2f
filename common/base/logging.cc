#include "common/base/logging.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace atelier {
namespace {

LogLevel LevelFromEnvironment() {
  const char* text = std::getenv("ATELIER_LOG_LEVEL");
  const std::string_view level = text == nullptr ? "" : text;
  if (level == "warning") return LogLevel::kWarning;
  if (level == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

std::atomic<LogLevel>& Level() {
  static std::atomic<LogLevel> level{LevelFromEnvironment()};
  return level;
}

struct Name {
  std::mutex mutex;
  std::string text = "atelier";
};
Name& ProcessName() {
  static Name& name = *new Name;
  return name;
}

}  // namespace

void SetLogName(std::string_view name) {
  Name& process = ProcessName();
  const std::lock_guard<std::mutex> lock(process.mutex);
  process.text = std::string(name);
}

void SetLogLevel(LogLevel level) {
  if (std::getenv("ATELIER_LOG_LEVEL") == nullptr) Level() = level;
}

bool LogEnabled(LogLevel level) { return level >= Level().load(std::memory_order_relaxed); }

void LogLine(LogLevel level, std::string_view text) {
  std::string name;
  {
    Name& process = ProcessName();
    const std::lock_guard<std::mutex> lock(process.mutex);
    name = process.text;
  }
  const std::string stamp =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  std::string line = stamp + " " + "IWE"[static_cast<int>(level)] + " " + name + "] ";
  line.append(text);
  line.push_back('\n');
  // A log line that cannot be written has nowhere to be reported to.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace atelier
