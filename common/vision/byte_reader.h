// Bounds-checked numbers in a byte string; past the end they read as zero and Has() says so.
#pragma once

#include <cstdint>
#include <string_view>

namespace atelier::vision {

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  uint64_t size() const { return bytes_.size(); }
  bool Has(uint64_t at, uint64_t n) const { return at <= size() && n <= size() - at; }
  // Clipped to what is there.
  std::string_view Slice(uint64_t at, uint64_t n) const {
    return at >= size() ? std::string_view() : bytes_.substr(at, n);
  }
  bool Matches(uint64_t at, std::string_view what) const { return Slice(at, what.size()) == what; }

  uint32_t U8(uint64_t at) const { return at < size() ? static_cast<uint8_t>(bytes_[at]) : 0U; }
  uint32_t Be16(uint64_t at) const { return U8(at) << 8 | U8(at + 1); }
  uint32_t Be32(uint64_t at) const { return Be16(at) << 16 | Be16(at + 2); }
  uint32_t Le16(uint64_t at) const { return U8(at + 1) << 8 | U8(at); }
  uint32_t Le24(uint64_t at) const { return U8(at + 2) << 16 | Le16(at); }
  uint32_t Le32(uint64_t at) const { return Le16(at + 2) << 16 | Le16(at); }

 private:
  std::string_view bytes_;
};

}  // namespace atelier::vision
