#include "services/cli/convert/float_convert.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace atelier::convert {
namespace {

float HalfToFloat(uint16_t half) {
  const int exponent = (half >> 10) & 0x1f;
  const int mantissa = half & 0x3ff;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0x1f) {
    return mantissa == 0 ? sign * std::numeric_limits<float>::infinity()
                         : std::numeric_limits<float>::quiet_NaN();
  }
  return exponent == 0 ? sign * std::ldexp(static_cast<float>(mantissa), -24)
                       : sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

float BFloat16ToFloat(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float out = 0;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

template <typename From, typename Fn>
std::string Map(std::string_view bytes, Fn&& convert) {
  const size_t n = bytes.size() / sizeof(From);
  std::string out(n * sizeof(float), '\0');
  for (size_t i = 0; i < n; ++i) {
    From from;
    std::memcpy(&from, bytes.data() + i * sizeof from, sizeof from);
    const float value = convert(from);
    std::memcpy(out.data() + i * sizeof value, &value, sizeof value);
  }
  return out;
}

}  // namespace

size_t ElementSize(ElementType type) {
  switch (type) {
    case ElementType::kF64:
    case ElementType::kI64:
      return 8;
    case ElementType::kF32:
    case ElementType::kI32:
      return 4;
    case ElementType::kF16:
    case ElementType::kBF16:
    case ElementType::kI16:
      return 2;
    case ElementType::kI8:
    case ElementType::kU8:
      return 1;
  }
  return 1;
}

std::string ElementName(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return "float32";
    case ElementType::kF64:
      return "float64";
    case ElementType::kF16:
      return "float16";
    case ElementType::kBF16:
      return "bfloat16";
    case ElementType::kI64:
      return "int64";
    case ElementType::kI32:
      return "int32";
    case ElementType::kI16:
      return "int16";
    case ElementType::kI8:
      return "int8";
    case ElementType::kU8:
      return "uint8";
  }
  return "unknown";
}

bool IsFloating(ElementType type) {
  return type == ElementType::kF32 || type == ElementType::kF64 || type == ElementType::kF16 ||
         type == ElementType::kBF16;
}

std::string ToFloat32(ElementType type, std::string_view bytes) {
  switch (type) {
    case ElementType::kF64:
      return Map<double>(bytes, [](double v) { return static_cast<float>(v); });
    case ElementType::kF16:
      return Map<uint16_t>(bytes, HalfToFloat);
    case ElementType::kBF16:
      return Map<uint16_t>(bytes, BFloat16ToFloat);
    default:
      return std::string(bytes);
  }
}

}  // namespace atelier::convert
