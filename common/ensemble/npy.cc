#include "common/ensemble/npy.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <regex>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace atelier::ensemble {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);
constexpr size_t kAlignment = 64;
constexpr size_t kMaxHeader = 4096;

std::string Header(std::string_view type, const std::string& shape) {
  std::string text = absl::StrCat("{'descr': '", std::string(type),
                                  "', 'fortran_order': False, 'shape': ", shape, ", }");
  const size_t fixed = kMagic.size() + 2;
  while ((fixed + text.size() + 1) % kAlignment != 0) text.push_back(' ');
  text.push_back('\n');
  std::string header(kMagic);
  header.push_back(static_cast<char>(text.size() & 0xff));
  header.push_back(static_cast<char>(text.size() >> 8));
  return header + text;
}

absl::Status Bad(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(".npy: ", std::string(why)));
}

// Bytes of an element; 0 for types that are not read.
size_t WidthOf(const std::string& type) {
  if (type == "|u1") return 1;
  if (type == "<f4" || type == "<i4") return 4;
  return type == "<f8" || type == "<i8" ? 8 : 0;
}

absl::StatusOr<NpyArray> Parse(std::string_view bytes, const std::string& type) {
  ATELIER_ASSIGN_OR_RETURN(NpyArray array, ParseNpy(bytes));
  if (array.type != type) return Bad(absl::StrCat("type ", array.type, ", expected ", type));
  return array;
}

}  // namespace

absl::StatusOr<NpyArray> ParseNpy(std::string_view bytes) {
  if (bytes.size() < kMagic.size() + 2 || bytes.substr(0, kMagic.size()) != kMagic) {
    return Bad("not a version 1.0 file");
  }
  const size_t length =
      static_cast<uint8_t>(bytes[8]) | static_cast<size_t>(static_cast<uint8_t>(bytes[9])) << 8;
  if (length > kMaxHeader || bytes.size() < 10 + length) return Bad("cut within its header");
  const std::string header(bytes.substr(10, length));
  static const std::regex pattern(
      R"(\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*)");
  std::smatch match;
  if (!std::regex_match(header, match, pattern)) return Bad("unknown header");
  NpyArray array;
  array.type = match[1];
  const size_t width = WidthOf(array.type);
  if (width == 0)
    return Bad(absl::StrCat("type ", array.type, "; read are |u1, <f4, <f8, <i4, <i8"));
  if (match[2] != "False") return Bad("Fortran order; save a C-ordered array");
  int64_t count = 1;
  static const std::regex number("[0-9]+");
  const std::string shape = match[3];
  constexpr int64_t kMaxExtent = std::numeric_limits<int>::max();  // rows and columns are ints
  for (std::sregex_iterator it(shape.begin(), shape.end(), number), end; it != end; ++it) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(it->str(), &value) || value > kMaxExtent) return Bad("shape too big");
    array.shape.push_back(value);
    count *= value;
    if (count > kMaxExtent) return Bad("shape too big");
  }
  array.data = bytes.substr(10 + length);
  const size_t needed = static_cast<size_t>(count) * width;
  if (array.data.size() != needed) {
    return Bad(absl::StrCat(array.data.size(), " bytes of data, the shape needs ", needed));
  }
  return array;
}

std::string ToNpy(const std::vector<int64_t>& shape, std::span<const float> values) {
  std::string dims = absl::StrJoin(shape, ", ");
  if (shape.size() == 1) dims += ",";
  std::string bytes = Header("<f4", absl::StrCat("(", dims, ")"));
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return bytes;
}

std::string ToNpy(const Probabilities& probabilities) {
  std::string bytes =
      Header("<f4", absl::StrCat("(", probabilities.rows, ", ", probabilities.columns, ")"));
  bytes.append(reinterpret_cast<const char*>(probabilities.values.data()),
               probabilities.values.size() * sizeof(float));
  return bytes;
}

std::string ToNpy(std::span<const int> labels) {
  std::string bytes = Header("<i4", absl::StrCat("(", labels.size(), ",)"));
  bytes.append(reinterpret_cast<const char*>(labels.data()), labels.size() * sizeof(int));
  return bytes;
}

absl::StatusOr<Probabilities> ProbabilitiesFromNpy(std::string_view bytes) {
  ATELIER_ASSIGN_OR_RETURN(const NpyArray parsed, Parse(bytes, "<f4"));
  if (parsed.shape.size() != 2) return Bad("expected two dimensions");
  Probabilities result{static_cast<int>(parsed.shape[0]), static_cast<int>(parsed.shape[1]),
                       std::vector<float>(parsed.data.size() / 4)};
  if (result.values.empty()) return result;
  std::memcpy(result.values.data(), parsed.data.data(), parsed.data.size());
  return result;
}

absl::StatusOr<std::vector<int>> LabelsFromNpy(std::string_view bytes) {
  ATELIER_ASSIGN_OR_RETURN(const NpyArray parsed, Parse(bytes, "<i4"));
  if (parsed.shape.size() != 1) return Bad("expected one dimension");
  std::vector<int> labels(parsed.data.size() / 4);
  if (labels.empty()) return labels;  // memcpy takes no null, not even for nothing
  std::memcpy(labels.data(), parsed.data.data(), parsed.data.size());
  return labels;
}

}  // namespace atelier::ensemble
