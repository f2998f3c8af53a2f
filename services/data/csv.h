// RFC 4180: quoted fields, doubled quotes, newlines inside quotes, LF or CRLF.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::data {

// InvalidArgument names the line: an open quote, text after a closing quote, bytes that are not
// UTF-8, or a row with another number of fields than the first. Empty lines are skipped. A UTF-8
// byte order mark is ignored.
absl::StatusOr<std::vector<std::vector<std::string>>> ParseCsv(std::string_view text);

}  // namespace atelier::data
