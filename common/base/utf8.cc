#include "common/base/utf8.h"

#include <algorithm>
#include <cstdint>

namespace atelier {
namespace {

bool Between(uint8_t value, uint8_t low, uint8_t high) { return value >= low && value <= high; }

// Bytes of the character that begins with `lead`, 0 when none does; what its second byte may be.
size_t Length(uint8_t lead, uint8_t& low, uint8_t& high) {
  low = 0x80;
  high = 0xbf;
  if (lead < 0x80) return 1;
  if (Between(lead, 0xc2, 0xdf)) return 2;
  if (Between(lead, 0xe0, 0xef)) {
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    return 3;
  }
  if (Between(lead, 0xf0, 0xf4)) {
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    return 4;
  }
  return 0;
}

}  // namespace

size_t Utf8CharacterLength(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [text](size_t at) { return static_cast<uint8_t>(text[at]); };
  uint8_t low = 0;
  uint8_t high = 0;
  const size_t length = Length(byte(0), low, high);
  if (length == 0 || length > text.size()) return 0;
  if (length > 1 && !Between(byte(1), low, high)) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (!Between(byte(i), 0x80, 0xbf)) return 0;
  }
  return length;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string_view CutUtf8(std::string_view text, size_t bytes) {
  size_t kept = 0;
  while (kept < text.size()) {
    // A byte of no character may stand alone: there is nothing to keep it with.
    const size_t next = kept + std::max<size_t>(1, Utf8CharacterLength(text.substr(kept)));
    if (next > bytes) break;
    kept = next;
  }
  return text.substr(0, kept);
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    valid += length == 0 ? kReplacement : text.substr(0, length);
    text.remove_prefix(std::max<size_t>(1, length));
  }
  return valid;
}

}  // namespace atelier
