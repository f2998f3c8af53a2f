// What a download reads from a response's header lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atelier::cli {

struct ContentRange {
  std::optional<uint64_t> first;  // absent in "bytes */1234"
  std::optional<uint64_t> total;  // absent in "bytes 0-9/*"
};
// "bytes 100-199/1234"; nullopt when it is anything else.
std::optional<ContentRange> ParseContentRange(std::string_view value);

struct ResponseHead {
  int status = 0;
  std::string etag;
  std::string last_modified;
  std::string content_range;
  std::string content_type;

  // One line, with or without its end. A status line begins anew (redirects, 100 Continue).
  void Add(std::string_view line);
  // What If-Range may carry: a strong ETag, else the date; empty: neither. (RFC 9110, 13.1.5)
  std::string Validator() const;
};

}  // namespace atelier::cli
