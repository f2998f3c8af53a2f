// Logs go to standard error, one line each: "2026-11-24T08:21:54.123Z I trainer] text". Own names,
// because torch brings glog-style LOG and CHECK macros.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_format.h"

namespace atelier {

enum class LogLevel { kInfo, kWarning, kError };

// The name printed in every line of this process (e.g. "trainer"), and the least level printed
// (default kInfo; the environment's ATELIER_LOG_LEVEL=info|warning|error wins). Call from
// main.
void SetLogName(std::string_view name);
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);

// Thread-safe; a line is written with one write(2).
void LogLine(LogLevel level, std::string_view text);

template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kInfo)) LogLine(LogLevel::kInfo, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarning(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kWarning)) LogLine(LogLevel::kWarning, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogError(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kError)) LogLine(LogLevel::kError, absl::StrFormat(format, args...));
}

}  // namespace atelier
