// Gives memory that was freed back to the system. glibc keeps it when something still used lies
// above it in the heap: a service that once held half a gigabyte of a flood's messages would stay
// that large for ever.
#pragma once

#include <chrono>
#include <cstdint>

namespace atelier {

// Not thread-safe.
class IdleMemory {
 public:
  // Call every few seconds. When this process has used less than a tenth of a processor since the
  // last call, and something was freed since the last time, returns what is free; costs
  // milliseconds. Under load it does nothing: what is free now is needed again at once. True when
  // it did.
  bool ReturnFreed();

 private:
  std::chrono::steady_clock::time_point last_call_ = std::chrono::steady_clock::now();
  std::chrono::microseconds last_processor_time_{0};
  int64_t settled_spare_ = 0;  // the least that was resident and not in use: glibc's own
};

// Anonymous resident bytes of this process; 0 when the system does not say.
int64_t ResidentBytes();

}  // namespace atelier
