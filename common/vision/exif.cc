#include "common/vision/exif.h"

#include "common/vision/byte_reader.h"

namespace atelier::vision {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShort = 3;
constexpr uint64_t kEntryBytes = 12;

}  // namespace

int ExifOrientation(std::string_view tiff) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (tiff.starts_with(kPrefix)) tiff.remove_prefix(kPrefix.size());
  const ByteReader reader(tiff);
  const bool little = reader.Matches(0, std::string_view("II*\0", 4));
  if (!little && !reader.Matches(0, std::string_view("MM\0*", 4))) return 1;
  const auto u16 = [&](uint64_t at) { return little ? reader.Le16(at) : reader.Be16(at); };
  const uint64_t directory = little ? reader.Le32(4) : reader.Be32(4);
  const uint32_t entries = u16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntryBytes;
    if (!reader.Has(entry, kEntryBytes)) break;
    if (u16(entry) != kOrientationTag || u16(entry + 2) != kShort) continue;
    const uint32_t value = u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace atelier::vision
