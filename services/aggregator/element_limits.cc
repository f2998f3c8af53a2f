#include "services/aggregator/element_limits.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>

#include <cstdint>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/status.h"

namespace atelier::aggregator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

// https://protobuf.dev/programming-guides/encoding/#structure; 3 and 4 are groups.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };
constexpr uint32_t kWireTypeBits = 3;
constexpr uint32_t kWireTypeMask = (1U << kWireTypeBits) - 1;

// Deeper than any of our messages; they do not hold themselves.
constexpr int kMaxDepth = 16;

absl::Status NoMessage() { return absl::InvalidArgumentError(rpc::kNoMessage); }

WireType WireTypeOf(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      return kFixed32;
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      return kFixed64;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_MESSAGE:
      return kLength;
    default:
      return kVarint;
  }
}

// Nothing: any number. Null: a field that `type` does not have.
std::optional<int> MostElements(const FieldDescriptor* field) {
  if (field == nullptr) return kMostElements;
  if (field->type() == FieldDescriptor::TYPE_BYTES) return kMostPictureElements;
  const bool number = field->is_packable();
  const bool grows_eightfold = field->cpp_type() == FieldDescriptor::CPPTYPE_INT64 ||
                               field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
  if (number && !grows_eightfold) return std::nullopt;
  return kMostElements;
}

class Walk {
 public:
  explicit Walk(CodedInputStream& in) : in_(in) {}

  absl::Status Message(const Descriptor& type, int depth) {
    while (const uint32_t tag = in_.ReadTag()) {
      const auto* field = type.FindFieldByNumber(static_cast<int>(tag >> kWireTypeBits));
      ATELIER_RETURN_IF_ERROR(Field(field, tag & kWireTypeMask, depth));
    }
    return in_.ConsumedEntireMessage() ? absl::OkStatus() : NoMessage();
  }

 private:
  absl::Status Field(const FieldDescriptor* field, uint32_t wire, int depth) {
    const bool packed = field != nullptr && wire == kLength && field->is_packable();
    // What comes in another wire type is an unknown field to the parser, too.
    if (field != nullptr && !packed && wire != WireTypeOf(*field)) field = nullptr;
    uint64_t value = 0;
    switch (wire) {
      case kVarint:
        return in_.ReadVarint64(&value) ? Count(field, 1) : NoMessage();
      case kFixed64:
        return in_.Skip(sizeof(uint64_t)) ? Count(field, 1) : NoMessage();
      case kFixed32:
        return in_.Skip(sizeof(uint32_t)) ? Count(field, 1) : NoMessage();
      case kLength:
        return Delimited(field, packed, depth);
      default:  // a group, which proto3 has not, or nothing at all
        return NoMessage();
    }
  }

  absl::Status Delimited(const FieldDescriptor* field, bool packed, int depth) {
    int length = 0;
    if (!in_.ReadVarintSizeAsInt(&length)) return NoMessage();
    ATELIER_RETURN_IF_ERROR(Count(field, packed ? length : 1));
    if (field == nullptr || field->type() != FieldDescriptor::TYPE_MESSAGE) {
      return in_.Skip(length) ? absl::OkStatus() : NoMessage();
    }
    if (depth == kMaxDepth) return NoMessage();
    const CodedInputStream::Limit outer = in_.PushLimit(length);
    ATELIER_RETURN_IF_ERROR(Message(*field->message_type(), depth + 1));
    in_.PopLimit(outer);
    return absl::OkStatus();
  }

  absl::Status Count(const FieldDescriptor* field, int elements) {
    if (field != nullptr && !field->is_repeated()) return absl::OkStatus();
    const std::optional<int> most = MostElements(field);
    if (!most.has_value()) return absl::OkStatus();
    int64_t& count = counts_[field];
    count += elements;
    if (count <= *most) return absl::OkStatus();
    const std::string message =
        absl::StrCat("a request with more than ", *most, " elements of ",
                     field == nullptr ? std::string("unknown fields") : field->full_name());
    const bool pictures = field != nullptr && field->type() == FieldDescriptor::TYPE_BYTES;
    return pictures ? absl::ResourceExhaustedError(message) : absl::InvalidArgumentError(message);
  }

  CodedInputStream& in_;
  std::map<const FieldDescriptor*, int64_t> counts_;
};

}  // namespace

absl::Status CheckElements(const Descriptor& type,
                           google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  return Walk(in).Message(type, 0);
}

}  // namespace atelier::aggregator
