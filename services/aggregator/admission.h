// Decides at the door whether a request may enter: overload is refused at once, with a hint when to
// come back, instead of growing queues.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "services/aggregator/request_limits.h"

namespace atelier::aggregator {

// Thread-safe. Outlives its tickets.
class Admission {
 public:
  // `on_bytes` (may be empty) hears of each change of bytes(), in order: it is called under the
  // lock and must not call back.
  explicit Admission(const RequestLimits& limits, std::function<void(int64_t)> on_bytes = {});

  // Room held until destroyed: members that hang hold pixels after the request's answer.
  class Ticket {
   public:
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    // From now on it holds its bytes only, and nobody who drains waits for it.
    void Answered();

   private:
    friend class Admission;
    Ticket(Admission& owner, int pictures, int64_t bytes);
    Admission& owner_;
    const int pictures_;
    const int64_t bytes_;
    bool answered_ = false;  // under the owner's lock
  };

  // Unavailable with pushback (PushbackOf) when full; a request dearer than the whole bound enters
  // alone. Unavailable after Close().
  absl::StatusOr<std::unique_ptr<Ticket>> Enter(int pictures, int64_t bytes);
  void Close();
  bool closed() const;
  // False when requests are still without an answer at the deadline.
  bool WaitEmpty(std::chrono::steady_clock::time_point deadline);
  int64_t bytes() const;

 private:
  void Leave(int pictures) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddBytes(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RequestLimits limits_;
  const std::function<void(int64_t)> on_bytes_;
  mutable Mutex mutex_;
  CondVar left_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int tickets_ ABSL_GUARDED_BY(mutex_) = 0;
  int requests_ ABSL_GUARDED_BY(mutex_) = 0;  // tickets without an answer yet
  int pictures_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The wait an overload status asks for; nothing for other statuses.
std::optional<std::chrono::milliseconds> PushbackOf(const absl::Status& status);

}  // namespace atelier::aggregator
