// Names and messages travel in proto strings, JSON and gRPC statuses, which are UTF-8 or nothing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace atelier {

// Bytes of the well-formed character that `text` begins with, by the Unicode standard, table 3-7:
// no overlong forms, no surrogates, at most U+10FFFF. 0 when there is none.
size_t Utf8CharacterLength(std::string_view text);

bool IsUtf8(std::string_view text);

// The longest beginning of at most `bytes` bytes that cuts no character.
std::string_view CutUtf8(std::string_view text, size_t bytes);

// Each byte that belongs to no character becomes U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace atelier
