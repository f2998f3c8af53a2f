// Limits of one request and of everything queued (RELIABILITY, default limits).
#pragma once

#include <chrono>
#include <cstdint>

#include "common/vision/decode.h"

namespace atelier::aggregator {

struct RequestLimits {
  static constexpr int kMostPictures = 64;  // trainers take no more
  int max_pictures = kMostPictures;
  // Of each picture, encoded or decoded already.
  vision::DecodeLimits picture;
  // A call without a deadline gets this one; a hanging client or member then ends by itself.
  std::chrono::milliseconds imposed_deadline{30'000};
  // Payload, prepared pixels and the members' copies of these, of all requests in flight and of
  // answered ones that members still hold: half of the server's ResourceQuota.
  int64_t max_queued_bytes = int64_t{256} << 20;
  // Pictures of all requests in flight; at about 10 ms of decoding each, 10 s for one thread.
  int max_queued_pictures = 1024;
  // What a refused client is told to wait before it tries again.
  std::chrono::milliseconds pushback{1'000};
};

}  // namespace atelier::aggregator
