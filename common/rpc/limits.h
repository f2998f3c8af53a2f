// Message limits that both ends of a connection must agree on (RELIABILITY, default limits).
#pragma once

#include <cstdint>

namespace atelier::rpc {

// Connections that carry pictures: batches and predictions. The others keep ServerOptions' default.
inline constexpr int kPictureReceiveBytes = 16 << 20;

// Pixels of one batch: the limit less room for labels, ids and framing.
inline constexpr int64_t kMaxBatchPixelBytes = kPictureReceiveBytes - (int64_t{256} << 10);

}  // namespace atelier::rpc
