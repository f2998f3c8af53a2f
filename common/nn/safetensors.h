// The safetensors format (huggingface/safetensors, "Format"): u64 little-endian header length, JSON
// header, raw little-endian tensors. No torch here: atelier-convert and tests use it without.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::nn {

enum class DType { kF32, kF64, kF16, kBF16, kI64, kI32, kU8 };

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::string_view bytes;  // into the owner's buffer
};

// ResourceExhausted above any of them.
struct SafetensorsLimits {
  uint64_t max_header_bytes = 1 << 20;
  size_t max_tensors = 4096;  // not counting __metadata__
  size_t max_rank = 8;
  uint64_t max_bytes = uint64_t{4} << 30;
};

// Parsed file; views point into the bytes passed to Parse, which must outlive it.
struct Safetensors {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};

// Checks everything RELIABILITY lists before believing anything: lengths, UTF-8, JSON, duplicate
// keys, offsets (in range, no overlap, no gap), shape products, unknown types, trailing bytes.
// InvalidArgument says what and where; ResourceExhausted: over a limit, or no memory. NaN and Inf
// are the caller's business (HasNonFinite).
absl::StatusOr<Safetensors> ParseSafetensors(std::string_view bytes,
                                             const SafetensorsLimits& limits = {});

// Length and header of a file whose tensors follow in name order, densely: for writers that hold
// one tensor at a time.
struct TensorLayout {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};
std::string SafetensorsHeader(const std::map<std::string, TensorLayout>& tensors,
                              const std::map<std::string, std::string>& metadata);

// Deterministic: tensors in name order, header padded with spaces to 8 bytes.
std::string SerializeSafetensors(const std::map<std::string, TensorView>& tensors,
                                 const std::map<std::string, std::string>& metadata = {});

bool HasNonFinite(const TensorView& tensor);

}  // namespace atelier::nn
