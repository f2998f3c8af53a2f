// Ids of calls that change something at the coordinator.
#pragma once

#include <string>

#include "common/base/sha256.h"

namespace atelier::trainer {

// 64 characters that stand for all of a request (whose own request_id is still empty): a retry
// after a lost answer has the same id, a request that differs anywhere another one.
template <typename Request>
std::string RequestIdOf(const Request& request) {
  return Sha256Hex(request.SerializeAsString());
}

}  // namespace atelier::trainer
