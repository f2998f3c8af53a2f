// Real PNG files of any size, byte by byte: one bit of grey a pixel, all of them black.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace atelier::vision {

inline std::string Be32(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

inline std::string Deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string packed(size, '\0');
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
            reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), 1);
  packed.resize(size);
  return packed;
}

inline std::string PngChunk(std::string_view kind, const std::string& data) {
  const std::string body = std::string(kind) + data;
  const auto crc = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
  return Be32(static_cast<uint32_t>(data.size())) + body + Be32(crc);
}

// What the header claims and what the pixels are need not fit; `extra` are chunks before the
// pixels.
inline std::string GreyPngOf(uint32_t width, uint32_t height, const std::string& packed,
                             const std::string& extra = "") {
  const std::string header = Be32(width) + Be32(height) + std::string("\1\0\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + PngChunk("IHDR", header) + extra + PngChunk("IDAT", packed) +
         PngChunk("IEND", "");
}

inline std::string GreyPng(uint32_t width, uint32_t height, const std::string& extra = "") {
  const size_t row = 1 + (size_t{width} + 7) / 8;
  return GreyPngOf(width, height, Deflated(std::string(row * height, '\0')), extra);
}

}  // namespace atelier::vision
