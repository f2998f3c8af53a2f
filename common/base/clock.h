// Time as a dependency, so that leases and timeouts are tested without sleeping.
#pragma once

#include <chrono>
#include <memory>

namespace atelier {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; the only clock that lease expiry is decided on.
  virtual std::chrono::steady_clock::time_point Now() const = 0;
  // Wall time, for people and records only.
  virtual std::chrono::system_clock::time_point WallNow() const = 0;
};

// The process's real clock; lives for ever.
const Clock& RealClock();

// Milliseconds since 1970 of a wall time point.
int64_t UnixMillis(std::chrono::system_clock::time_point t);

}  // namespace atelier
