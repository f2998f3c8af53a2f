// absl::Status helpers. Debian bookworm's Abseil (20220623) has no public status macros.
//
// Codes carry the meaning of RELIABILITY: InvalidArgument bad content, ResourceExhausted over a
// limit, DataLoss stored bytes corrupt, NotFound unknown name, FailedPrecondition not ready,
// Aborted stale lease, Unavailable overload or peer gone. Messages say what was expected, what was
// found, and what to do; they never echo absolute paths or SQL to a remote caller.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier {

// `status` with "context: " put before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

namespace internal {
inline const absl::Status& ToStatus(const absl::Status& s) { return s; }
template <typename T>
const absl::Status& ToStatus(const absl::StatusOr<T>& s) {
  return s.status();
}
}  // namespace internal

}  // namespace atelier

#define ATELIER_CONCAT_INNER_(a, b) a##b
#define ATELIER_CONCAT_(a, b) ATELIER_CONCAT_INNER_(a, b)

// Returns the status of `expr` (Status or StatusOr) from the enclosing function unless it is OK.
// (The line in the name lets a lambda with its own use stand inside `expr`.)
#define ATELIER_RETURN_IF_ERROR(expr) \
  ATELIER_RETURN_IF_ERROR_IMPL_(ATELIER_CONCAT_(atelier_status_, __LINE__), expr)
#define ATELIER_RETURN_IF_ERROR_IMPL_(status, expr)                 \
  do {                                                              \
    auto&& status = (expr);                                         \
    if (!status.ok()) return ::atelier::internal::ToStatus(status); \
  } while (false)

// `lhs` may be a declaration: ATELIER_ASSIGN_OR_RETURN(auto image, DecodeImage(bytes));
#define ATELIER_ASSIGN_OR_RETURN(lhs, expr) \
  ATELIER_ASSIGN_OR_RETURN_IMPL_(ATELIER_CONCAT_(atelier_statusor_, __LINE__), lhs, expr)
#define ATELIER_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                                   \
  if (!statusor.ok()) return statusor.status();             \
  lhs = std::move(statusor).value()
