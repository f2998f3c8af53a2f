// Names travel in proto strings and JSON, which are UTF-8 or nothing.
#pragma once

#include <string>
#include <string_view>

namespace atelier::data {

// Well-formed by the Unicode standard, table 3-7: no overlong forms, no surrogates, at most
// U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace atelier::data
