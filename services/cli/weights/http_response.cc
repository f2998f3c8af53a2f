#include "services/cli/weights/http_response.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace atelier::cli {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  // SimpleAtoi would take signs and spaces.
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  if (!absl::SimpleAtoi(View(text), &value)) return std::nullopt;
  return value;
}

}  // namespace

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (!absl::StartsWithIgnoreCase(View(value), View(kUnit))) return std::nullopt;
  value.remove_prefix(kUnit.size());
  const size_t slash = value.find('/');
  if (slash == value.npos) return std::nullopt;
  const std::string_view range = value.substr(0, slash);
  const std::string_view total = value.substr(slash + 1);
  ContentRange parsed;
  if (total != "*") {
    parsed.total = Number(total);
    if (!parsed.total) return std::nullopt;
  }
  if (range != "*") {
    const size_t dash = range.find('-');
    if (dash == range.npos || !Number(range.substr(dash + 1))) return std::nullopt;
    parsed.first = Number(range.substr(0, dash));
    if (!parsed.first) return std::nullopt;
  }
  return parsed;
}

void ResponseHead::Add(std::string_view line) {
  if (absl::StartsWith(View(line), "HTTP/")) {
    *this = ResponseHead{};
    const size_t space = line.find(' ');
    if (space != line.npos) {
      status = static_cast<int>(Number(line.substr(space + 1, 3)).value_or(0));
    }
    return;
  }
  const size_t colon = line.find(':');
  if (colon == line.npos) return;
  const std::string name = absl::AsciiStrToLower(View(line.substr(0, colon)));
  const std::string value(absl::StripAsciiWhitespace(View(line.substr(colon + 1))));
  if (name == "etag") etag = value;
  if (name == "last-modified") last_modified = value;
  if (name == "content-range") content_range = value;
  if (name == "content-type") content_type = value;
}

std::string ResponseHead::Validator() const {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') return etag;
  return last_modified;
}

}  // namespace atelier::cli
