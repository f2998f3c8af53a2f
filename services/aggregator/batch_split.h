// Decorator: predicts large requests in pieces, so that no message to a trainer exceeds the receive
// limit. In-process members get it too: remote and local answers then come from equal batches and
// are equal to the bit.
#pragma once

#include <cstdint>
#include <memory>

#include "services/aggregator/member.h"

namespace atelier::aggregator {

// 16 MiB is the receive limit on predict; the rest of the message is far below 1 MiB.
constexpr int64_t kMaxPixelBytes = int64_t{15} << 20;

// At least one picture a piece; answers are put together in order; the first error wins.
std::shared_ptr<Member> SplitBatches(std::shared_ptr<Member> member,
                                     int64_t max_bytes = kMaxPixelBytes);

}  // namespace atelier::aggregator
