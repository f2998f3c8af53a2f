// Bytes that many readers hold together. Who finds no room is called once there is some.
#pragma once

#include <cstdint>
#include <vector>

#include "common/concurrency/mutex.h"

namespace atelier::trainer {

// Thread-safe. A message is counted once it is there, so the bound may be passed by one message of
// each reader that was reading then.
class ByteBudget {
 public:
  class Reader {
   public:
    virtual void OnRoom() = 0;  // without locks of the budget

   protected:
    ~Reader() = default;
  };

  explicit ByteBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  void Take(int64_t bytes) {
    MutexLock lock(mutex_);
    taken_ += bytes;
  }
  // Calls those for whom there is room again: not under a lock that they take.
  void Release(int64_t bytes) {
    std::vector<Reader*> called;
    {
      MutexLock lock(mutex_);
      taken_ -= bytes;
      // All of them: one that has nothing to read would keep the others waiting.
      if (taken_ < max_bytes_) called.swap(waiting_);
    }
    for (Reader* reader : called) reader->OnRoom();
  }
  // False: OnRoom is called once, unless Leave says that it will not be.
  bool HasRoomOrWait(Reader& reader) {
    MutexLock lock(mutex_);
    if (taken_ < max_bytes_) return true;
    waiting_.push_back(&reader);
    return false;
  }
  // False: `reader` does not wait any more; its OnRoom was called or is about to be.
  bool Leave(Reader& reader) {
    MutexLock lock(mutex_);
    return std::erase(waiting_, &reader) > 0;
  }

 private:
  const int64_t max_bytes_;
  Mutex mutex_;
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Reader*> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::trainer
