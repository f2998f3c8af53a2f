#include "common/base/idle_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

namespace atelier {
namespace {

// Growth that is not worth a walk through the heap.
constexpr int64_t kWorthIt = 1 << 20;

std::chrono::microseconds ProcessorTime() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

}  // namespace

int64_t ResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib << 10;
  }
  return 0;
}

bool IdleMemory::ReturnFreed() {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::microseconds processor_time = ProcessorTime();
  const bool idle = 10 * (processor_time - last_processor_time_) < now - last_call_;
  last_call_ = now;
  last_processor_time_ = processor_time;
  if (!idle || ResidentBytes() < settled_bytes_ + kWorthIt) return false;
  ::malloc_trim(0);
  settled_bytes_ = ResidentBytes();
  return true;
}

}  // namespace atelier
