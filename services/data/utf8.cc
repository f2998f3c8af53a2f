#include "services/data/utf8.h"

#include <cstddef>
#include <cstdint>

namespace atelier::data {
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

bool IsUtf8(std::string_view text) {
  const auto byte = [text](size_t at) { return static_cast<uint8_t>(text[at]); };
  for (size_t at = 0; at < text.size();) {
    uint8_t low = 0;
    uint8_t high = 0;
    const size_t length = Length(byte(at), low, high);
    if (length == 0 || length > text.size() - at) return false;
    if (length > 1 && !Between(byte(at + 1), low, high)) return false;
    for (size_t i = 2; i < length; ++i) {
      if (!Between(byte(at + i), 0x80, 0xbf)) return false;
    }
    at += length;
  }
  return true;
}

}  // namespace atelier::data
