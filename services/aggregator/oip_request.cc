#include "services/aggregator/oip_request.h"

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace atelier::aggregator {
namespace {

using inference::InferTensorContents;
using inference::ModelInferRequest;
using Tensor = ModelInferRequest::InferInputTensor;

constexpr int kColours = 3;

absl::Status Invalid(const std::string& message) { return absl::InvalidArgumentError(message); }

// Names come from the client: quoted, and cut so that a message stays a message.
std::string Quoted(const std::string& name) {
  constexpr size_t kShown = 64;
  return absl::StrCat("\"", ReplaceInvalidUtf8(CutUtf8(name, kShown)),
                      name.size() > kShown ? "…" : "", "\"");
}

std::string ShapeText(const Tensor& tensor) {
  constexpr int kShown = 8;
  std::vector<int64_t> dims(tensor.shape().begin(), tensor.shape().end());
  const bool cut = dims.size() > kShown;
  if (cut) dims.resize(kShown);
  return absl::StrCat("[", absl::StrJoin(dims, ", "), cut ? ", …" : "", "]");
}

// Only `contents`' field number `wanted` may hold values.
absl::Status CheckTypedField(const InferTensorContents& contents, int wanted,
                             std::string_view field) {
  const int sizes[] = {contents.bool_contents_size(),   contents.int_contents_size(),
                       contents.int64_contents_size(),  contents.uint_contents_size(),
                       contents.uint64_contents_size(), contents.fp32_contents_size(),
                       contents.fp64_contents_size(),   contents.bytes_contents_size()};
  for (int i = 0; i < 8; ++i) {
    if (i + 1 != wanted && sizes[i] > 0) {
      return Invalid(absl::StrCat("typed contents of another type than the input's: expected ",
                                  std::string(field), " only"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckShape(const Tensor& tensor, int rank, std::string_view form, int max_pictures) {
  if (tensor.shape_size() != rank) {
    return Invalid(absl::StrCat("input ", Quoted(tensor.name()), " has shape ", ShapeText(tensor),
                                "; expected ", std::string(form)));
  }
  for (const int64_t dim : tensor.shape()) {
    if (dim < 1 || dim > std::numeric_limits<int32_t>::max()) {
      return Invalid(absl::StrCat("input ", Quoted(tensor.name()), " has shape ", ShapeText(tensor),
                                  ": every extent is at least 1 and below 2^31"));
    }
  }
  if (tensor.shape(0) > max_pictures) {
    return absl::ResourceExhaustedError(absl::StrCat(tensor.shape(0), " pictures; at most ",
                                                     max_pictures, " a request: send several"));
  }
  return absl::OkStatus();
}

uint32_t LittleEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

absl::Status SplitRawBytes(std::string_view raw, int count, std::vector<std::string_view>& out) {
  for (int i = 0; i < count; ++i) {
    if (raw.size() < sizeof(uint32_t)) {
      return Invalid(
          absl::StrCat("raw contents of \"image\" end before element ", i, " of ", count));
    }
    const uint32_t length = LittleEndian32(raw);
    raw.remove_prefix(sizeof(uint32_t));
    if (length > raw.size()) {
      return Invalid(absl::StrCat("element ", i, " of \"image\" claims ", length,
                                  " bytes, but only ", raw.size(), " are left"));
    }
    out.push_back(raw.substr(0, length));
    raw.remove_prefix(length);
  }
  if (!raw.empty()) {
    return Invalid(absl::StrCat(raw.size(), " bytes are left over after the ", count,
                                " elements of \"image\""));
  }
  return absl::OkStatus();
}

absl::Status ParseImage(const Tensor& tensor, const std::string* raw, int max_pictures,
                        OipRequest& out) {
  if (tensor.datatype() != "BYTES") {
    return Invalid(absl::StrCat("input \"image\" is BYTES, found ", Quoted(tensor.datatype())));
  }
  ATELIER_RETURN_IF_ERROR(CheckShape(tensor, 1, "[N]", max_pictures));
  out.pictures.count = static_cast<int>(tensor.shape(0));
  if (raw != nullptr) return SplitRawBytes(*raw, out.pictures.count, out.pictures.encoded);
  ATELIER_RETURN_IF_ERROR(CheckTypedField(
      tensor.contents(), InferTensorContents::kBytesContentsFieldNumber, "bytes_contents"));
  if (tensor.contents().bytes_contents_size() != out.pictures.count) {
    return Invalid(absl::StrCat("shape ", ShapeText(tensor), " needs ", out.pictures.count,
                                " elements of bytes_contents, found ",
                                tensor.contents().bytes_contents_size()));
  }
  out.pictures.encoded.assign(tensor.contents().bytes_contents().begin(),
                              tensor.contents().bytes_contents().end());
  return absl::OkStatus();
}

absl::Status ParsePixels(const Tensor& tensor, const std::string* raw, int max_pictures,
                         OipRequest& out) {
  if (tensor.datatype() != "UINT8") {
    return Invalid(absl::StrCat("input \"pixels\" is UINT8, found ", Quoted(tensor.datatype())));
  }
  ATELIER_RETURN_IF_ERROR(CheckShape(tensor, 4, "[N, H, W, 3]", max_pictures));
  if (tensor.shape(3) != kColours) {
    return Invalid(absl::StrCat("input \"pixels\" has shape ", ShapeText(tensor),
                                "; expected [N, H, W, 3] (RGB)"));
  }
  out.pictures.count = static_cast<int>(tensor.shape(0));
  out.pictures.height = static_cast<int>(tensor.shape(1));
  out.pictures.width = static_cast<int>(tensor.shape(2));
  // H and W are below 2^31: their product fits, times 3 or N it might not.
  int64_t picture = 0;
  const int64_t found =
      raw != nullptr ? static_cast<int64_t>(raw->size()) : tensor.contents().uint_contents_size();
  if (__builtin_mul_overflow(tensor.shape(1) * tensor.shape(2), kColours, &picture) ||
      found % picture != 0 || found / picture != tensor.shape(0)) {
    return Invalid(absl::StrCat("shape ", ShapeText(tensor), " of \"pixels\" does not match the ",
                                found, raw != nullptr ? " raw bytes" : " elements of uint_contents",
                                " sent"));
  }
  if (raw != nullptr) {
    out.pictures.pixels = *raw;
    return absl::OkStatus();
  }
  ATELIER_RETURN_IF_ERROR(CheckTypedField(
      tensor.contents(), InferTensorContents::kUintContentsFieldNumber, "uint_contents"));
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(static_cast<size_t>(found));
  for (const uint32_t value : tensor.contents().uint_contents()) {
    if (value > 255) return Invalid(absl::StrCat("pixel value ", value, "; UINT8 ends at 255"));
    bytes->push_back(static_cast<char>(value));
  }
  out.owned = bytes;
  out.pictures.pixels = *out.owned;
  return absl::OkStatus();
}

absl::Status CheckNoSharedMemory(
    const google::protobuf::Map<std::string, inference::InferParameter>& parameters) {
  for (const char* key : {"shared_memory_region", "classification"}) {
    if (parameters.contains(key)) {
      return Invalid(absl::StrCat("tensor parameter \"", key, "\" is not supported"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseInputs(const ModelInferRequest& request, int max_pictures, OipRequest& out) {
  for (const Tensor& tensor : request.inputs()) {
    if (tensor.name() != kImageInput && tensor.name() != kPixelsInput) {
      return Invalid(
          absl::StrCat("unknown input ", Quoted(tensor.name()),
                       "; send \"image\" (BYTES [N]) or \"pixels\" (UINT8 [N, H, W, 3])"));
    }
    ATELIER_RETURN_IF_ERROR(CheckNoSharedMemory(tensor.parameters()));
  }
  if (request.inputs_size() != 1) {
    return Invalid(absl::StrCat("expected exactly one input, \"image\" or \"pixels\", found ",
                                request.inputs_size()));
  }
  const Tensor& tensor = request.inputs(0);
  const int raws = request.raw_input_contents_size();
  if (raws > 0 && tensor.has_contents() && tensor.contents().ByteSizeLong() > 0) {
    return Invalid("both raw_input_contents and typed contents are set; send one of them");
  }
  if (raws > 1) {
    return Invalid(absl::StrCat("raw_input_contents has ", raws, " entries for 1 input"));
  }
  const std::string* raw = raws == 1 ? &request.raw_input_contents(0) : nullptr;
  return tensor.name() == kImageInput ? ParseImage(tensor, raw, max_pictures, out)
                                      : ParsePixels(tensor, raw, max_pictures, out);
}

absl::Status ParseOutputs(const ModelInferRequest& request, OipRequest& out) {
  if (request.outputs().empty()) return absl::OkStatus();
  out.want_probabilities = out.want_labels = false;
  for (const auto& output : request.outputs()) {
    bool* wanted = nullptr;
    if (output.name() == kProbabilitiesOutput) wanted = &out.want_probabilities;
    if (output.name() == kLabelOutput) wanted = &out.want_labels;
    if (wanted == nullptr) {
      return Invalid(absl::StrCat("unknown output ", Quoted(output.name()),
                                  "; there are \"probabilities\" and \"label\""));
    }
    if (*wanted) return Invalid(absl::StrCat("output \"", output.name(), "\" is requested twice"));
    ATELIER_RETURN_IF_ERROR(CheckNoSharedMemory(output.parameters()));
    *wanted = true;
  }
  return absl::OkStatus();
}

// Triton's clients send it as int64, newer ones may as uint64; 0 means none.
std::optional<std::chrono::microseconds> TimeoutOf(const ModelInferRequest& request) {
  const auto found = request.parameters().find("timeout");
  if (found == request.parameters().end()) return std::nullopt;
  uint64_t micros = found->second.uint64_param();
  if (found->second.has_int64_param() && found->second.int64_param() > 0) {
    micros = static_cast<uint64_t>(found->second.int64_param());
  }
  constexpr uint64_t kHour = 3'600'000'000;
  if (micros == 0 || micros > kHour) return std::nullopt;
  return std::chrono::microseconds(micros);
}

}  // namespace

absl::StatusOr<OipRequest> ParseOipRequest(const ModelInferRequest& request, int max_pictures) {
  OipRequest out;
  ATELIER_RETURN_IF_ERROR(ParseInputs(request, max_pictures, out));
  ATELIER_RETURN_IF_ERROR(ParseOutputs(request, out));
  out.timeout = TimeoutOf(request);
  return out;
}

}  // namespace atelier::aggregator
