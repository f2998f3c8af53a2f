#include "common/nn/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace atelier::nn {
namespace {

using nlohmann::json;

struct TypeName {
  DType dtype;
  const char* name;
  uint64_t bytes;
};
constexpr TypeName kTypes[] = {
    {DType::kF32, "F32", 4},   {DType::kF64, "F64", 8}, {DType::kF16, "F16", 2},
    {DType::kBF16, "BF16", 2}, {DType::kI64, "I64", 8}, {DType::kI32, "I32", 4},
    {DType::kU8, "U8", 1},
};
constexpr size_t kMaxNameBytes = 512;

const TypeName* FindType(std::string_view name) {
  for (const TypeName& type : kTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}
const TypeName& TypeOf(DType dtype) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes),
                       [&](const TypeName& type) { return type.dtype == dtype; });
}

template <typename... Args>
absl::Status Bad(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat("not a valid safetensors file: ", args...));
}
// Names come from outside: short and printable in messages.
std::string Shown(std::string_view name) {
  std::string out;
  for (char c : name.substr(0, 80)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  return absl::StrCat("\"", out, name.size() > 80 ? "…" : "", "\"");
}

// nlohmann silently keeps the last of two equal keys and nests without bound; this refuses both.
absl::Status ParseHeaderJson(std::string_view text, json* out) {
  std::string error;
  std::vector<std::set<std::string>> open_objects;
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > 4) {
      error = "the header is nested too deeply";
      throw std::length_error("depth");
    }
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key &&
        !open_objects.back().insert(parsed.get<std::string>()).second) {
      error = absl::StrCat("the key ", Shown(parsed.get<std::string>()), " is there twice");
      throw std::length_error("duplicate");
    }
    return true;
  };
  try {
    *out = json::parse(text.begin(), text.end(), check);
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory for the header of a safetensors file");
  } catch (const std::exception& e) {
    if (!error.empty()) return Bad(error);
    return Bad("the header is no JSON (", Shown(e.what()), ")");
  }
}

absl::Status ParseMetadata(const json& value, std::map<std::string, std::string>* out) {
  if (!value.is_object()) return Bad("__metadata__ is no object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Bad("__metadata__ ", Shown(key), " is no string");
    out->emplace(key, text.get<std::string>());
  }
  return absl::OkStatus();
}

bool AsUint(const json& value, uint64_t* out) {
  if (!value.is_number_unsigned()) return false;
  *out = value.get<uint64_t>();
  return true;
}

absl::Status ParseShape(const std::string& name, const json& value, size_t max_rank,
                        uint64_t item_bytes, std::vector<int64_t>* shape, uint64_t* bytes) {
  if (!value.is_array()) return Bad("tensor ", Shown(name), " has no shape");
  if (value.size() > max_rank) {
    return absl::ResourceExhaustedError(absl::StrCat("tensor ", Shown(name), " has rank ",
                                                     value.size(), ", the limit is ", max_rank));
  }
  *bytes = item_bytes;
  bool empty = false;
  for (const json& item : value) {
    uint64_t dim = 0;
    if (!AsUint(item, &dim) || dim > uint64_t{INT64_MAX}) {
      return Bad("tensor ", Shown(name), " has a dimension that is no size");
    }
    shape->push_back(static_cast<int64_t>(dim));
    empty |= dim == 0;
    if (dim != 0 && __builtin_mul_overflow(*bytes, dim, bytes)) {
      return Bad("the shape of tensor ", Shown(name), " overflows");
    }
  }
  if (empty) *bytes = 0;
  return absl::OkStatus();
}

struct Extent {
  uint64_t begin;
  uint64_t end;
  const std::string* name;
};

absl::Status ParseTensor(const std::string& name, const json& value, std::string_view data,
                         const SafetensorsLimits& limits, Safetensors* out,
                         std::vector<Extent>* extents) {
  if (name.empty() || name.size() > kMaxNameBytes)
    return Bad("a tensor's name is too long or empty");
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets")) {
    return Bad("tensor ", Shown(name), " needs exactly dtype, shape and data_offsets");
  }
  if (!value["dtype"].is_string()) return Bad("tensor ", Shown(name), " has no dtype");
  const TypeName* type = FindType(value["dtype"].get_ref<const std::string&>());
  if (type == nullptr) {
    return Bad("tensor ", Shown(name), " has unknown type ",
               Shown(value["dtype"].get_ref<const std::string&>()),
               "; known: F32, F64, F16, BF16, I64, I32, U8");
  }
  TensorView view;
  view.dtype = type->dtype;
  uint64_t bytes = 0;
  absl::Status status =
      ParseShape(name, value["shape"], limits.max_rank, type->bytes, &view.shape, &bytes);
  if (!status.ok()) return status;
  const json& offsets = value["data_offsets"];
  uint64_t begin = 0;
  uint64_t end = 0;
  if (!offsets.is_array() || offsets.size() != 2 || !AsUint(offsets[0], &begin) ||
      !AsUint(offsets[1], &end) || begin > end) {
    return Bad("tensor ", Shown(name), " has bad data_offsets");
  }
  if (end > data.size()) {
    return Bad("tensor ", Shown(name), " ends at byte ", end, " of ", data.size(),
               " (a file cut short?)");
  }
  if (end - begin != bytes) {
    return Bad("tensor ", Shown(name), " takes ", bytes, " bytes by shape and type, but ",
               end - begin, " by its offsets");
  }
  view.bytes = data.substr(begin, bytes);
  const auto placed = out->tensors.emplace(name, std::move(view)).first;
  extents->push_back({begin, end, &placed->first});
  return absl::OkStatus();
}

// The tensors cover the data exactly: no gap to hide bytes in, no overlap, nothing after the end.
absl::Status CheckCoverage(std::vector<Extent> extents, uint64_t size) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Extent& extent : extents) {
    if (extent.begin < at) return Bad("tensor ", Shown(*extent.name), " overlaps another");
    if (extent.begin > at) return Bad("a gap before tensor ", Shown(*extent.name));
    at = extent.end;
  }
  if (at != size) return Bad(size - at, " trailing bytes after the last tensor");
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> HeaderLength(std::string_view bytes, const SafetensorsLimits& limits) {
  if (bytes.size() < 8) return Bad("only ", bytes.size(), " bytes");
  if (bytes.size() > limits.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("safetensors file of ", bytes.size(),
                                                     " bytes, the limit is ", limits.max_bytes));
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<uint8_t>(bytes[i]);
  // First: what is no safetensors file at all has some number here, and is not called too large.
  if (length > bytes.size() - 8) {
    return Bad("a header of ", length, " bytes in a file of ", bytes.size());
  }
  if (length > limits.max_header_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("safetensors file with a header of ", length,
                                                     " bytes, the limit is ",
                                                     limits.max_header_bytes));
  }
  return length;
}

void AppendUint64(uint64_t value, std::string* out) {
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

// True when the exponent of any little-endian float of `size` bytes is all ones.
bool AnyAllOnes(std::string_view bytes, size_t size, uint64_t mask) {
  for (size_t i = 0; i + size <= bytes.size(); i += size) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i, size);
    if ((bits & mask) == mask) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<Safetensors> ParseSafetensors(std::string_view bytes,
                                             const SafetensorsLimits& limits) {
  const absl::StatusOr<uint64_t> length = HeaderLength(bytes, limits);
  if (!length.ok()) return length.status();
  const std::string_view header = bytes.substr(8, *length);
  const std::string_view data = bytes.substr(8 + *length);
  if (header.empty() || header.front() != '{') return Bad("the header does not begin with {");
  json root;
  absl::Status status = ParseHeaderJson(header, &root);
  if (!status.ok()) return status;
  if (!root.is_object()) return Bad("the header is no JSON object");
  const size_t tensors = root.size() - root.count("__metadata__");
  if (tensors > limits.max_tensors) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "safetensors file with ", tensors, " tensors, the limit is ", limits.max_tensors));
  }
  Safetensors out;
  std::vector<Extent> extents;
  for (const auto& [name, value] : root.items()) {
    status = name == "__metadata__" ? ParseMetadata(value, &out.metadata)
                                    : ParseTensor(name, value, data, limits, &out, &extents);
    if (!status.ok()) return status;
  }
  status = CheckCoverage(std::move(extents), data.size());
  if (!status.ok()) return status;
  return out;
}

std::string SafetensorsHeader(const std::map<std::string, TensorLayout>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  json root = json::object();
  if (!metadata.empty()) root["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, layout] : tensors) {
    const TypeName& type = TypeOf(layout.dtype);
    uint64_t end = type.bytes;
    for (const int64_t n : layout.shape) end *= static_cast<uint64_t>(n);
    end += offset;
    root[name] = {{"dtype", type.name}, {"shape", layout.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string header = root.dump();
  while (header.size() % 8 != 0) header.push_back(' ');
  std::string out;
  AppendUint64(header.size(), &out);
  return out + header;
}

std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorLayout> layouts;
  size_t bytes = 0;
  for (const auto& [name, view] : tensors) {
    layouts[name] = {view.dtype, view.shape};
    bytes += view.bytes.size();
  }
  std::string out = SafetensorsHeader(layouts, metadata);
  out.reserve(out.size() + bytes);
  for (const auto& [name, view] : tensors) out.append(view.bytes);
  return out;
}

bool HasNonFinite(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return AnyAllOnes(tensor.bytes, 4, 0x7f800000u);
    case DType::kF64:
      return AnyAllOnes(tensor.bytes, 8, 0x7ff0000000000000u);
    case DType::kF16:
      return AnyAllOnes(tensor.bytes, 2, 0x7c00u);
    case DType::kBF16:
      return AnyAllOnes(tensor.bytes, 2, 0x7f80u);
    default:
      return false;
  }
}

}  // namespace atelier::nn
