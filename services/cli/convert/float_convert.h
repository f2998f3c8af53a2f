// Element types of foreign files, and their conversion to float32.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace atelier::convert {

enum class ElementType { kF32, kF64, kF16, kBF16, kI64, kI32, kI16, kI8, kU8 };

size_t ElementSize(ElementType type);
std::string ElementName(ElementType type);
bool IsFloating(ElementType type);

// Little-endian elements of a floating type to little-endian float32. Doubles are rounded to
// nearest; halves and bfloat16 are exact, also subnormals, infinities and NaN.
std::string ToFloat32(ElementType type, std::string_view bytes);

}  // namespace atelier::convert
