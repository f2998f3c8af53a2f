#include "common/base/idle_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace atelier {
namespace {

// What is not worth a walk through the heap.
constexpr int64_t kWorthIt = 1 << 20;

std::chrono::microseconds ProcessorTime() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

// Resident and not handed out. Less than nothing when much that is handed out was never touched.
int64_t SpareBytes() {
  const struct mallinfo2 heap = ::mallinfo2();
  return ResidentBytes() - static_cast<int64_t>(heap.uordblks + heap.hblkhd);
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
  if (!idle) return false;
  const int64_t spare = SpareBytes();
  settled_spare_ = std::min(settled_spare_, spare);
  if (spare < settled_spare_ + kWorthIt) return false;
  ::malloc_trim(0);
  settled_spare_ = SpareBytes();
  return true;
}

}  // namespace atelier
