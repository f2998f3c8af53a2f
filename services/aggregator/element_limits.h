// Requests that are small on the wire and huge once parsed: an empty element takes two bytes there
// and up to two hundred in memory, so that 16 MiB of them would be gigabytes.
#pragma once

#include "absl/status/status.h"
#include "services/aggregator/request_limits.h"

namespace google::protobuf {
class Descriptor;
namespace io {
class ZeroCopyInputStream;
}
}  // namespace google::protobuf

namespace atelier::aggregator {

// Elements of one field in a whole request, wherever in it they stand. No good request comes near
// it: it has one input, two outputs, a handful of parameters and a shape of four extents.
inline constexpr int kMostElements = 64;
// Of a field of pictures. Above what a request may have, so that one with a few too many is still
// told how many there were.
inline constexpr int kMostPictureElements = 256;
static_assert(kMostPictureElements > 2 * RequestLimits::kMostPictures);

// Walks the wire's tags of a message of `type` and copies nothing; look before parsing.
// InvalidArgument: more than kMostElements of a field (of unknown ones together), groups, or bytes
// that are no message; of 64-bit numbers, which grow eightfold, each byte counts as an element, and
// of other numbers nothing does. ResourceExhausted: more than kMostPictureElements of `bytes`.
absl::Status CheckElements(const google::protobuf::Descriptor& type,
                           google::protobuf::io::ZeroCopyInputStream& bytes);

}  // namespace atelier::aggregator
