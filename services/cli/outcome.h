// How a verb ends: what it says on standard error, and the process's exit code.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::cli {

// The process's exit codes (fixed: scripts rely on them).
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;
inline constexpr int kInterrupted = 130;

// "atelier: text" on standard error.
void Say(std::string_view text);
// Says the error and gives kFailed.
int Fail(const absl::Status& status);
// For what the user typed wrongly (recipe, --set, a name): kWrongUsage.
int Misuse(const absl::Status& status);

// The same error, marked as one that the user typed; OK stays OK. A code cannot say it: a picture
// that does not decode is InvalidArgument, too.
absl::Status WrongUsage(absl::Status status);
template <typename T>
absl::StatusOr<T> WrongUsage(absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return WrongUsage(result.status());
}

// kDone; else says the error and gives kWrongUsage when it is marked so, kFailed when not.
int ExitCode(const absl::Status& status);

}  // namespace atelier::cli
