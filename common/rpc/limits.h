// Message limits that both ends of a connection must agree on (RELIABILITY, default limits).
#pragma once

#include <cstdint>

namespace atelier::rpc {

// Connections that carry pictures: batches and predictions. The others keep ServerOptions' default.
inline constexpr int kPictureReceiveBytes = 16 << 20;

// The most that the message of a batch takes: pixels, a float of each class, an id as a varint, and
// room for everything else. It has to fit into kPictureReceiveBytes. 0 classes: no labels.
constexpr int64_t BatchMessageBytes(int64_t pictures, int64_t picture_bytes, int64_t classes) {
  constexpr int64_t kFloatBytes = 4;
  constexpr int64_t kIdBytes = 5;
  constexpr int64_t kRest = int64_t{4} << 10;
  return pictures * (picture_bytes + classes * kFloatBytes + kIdBytes) + kRest;
}

}  // namespace atelier::rpc
