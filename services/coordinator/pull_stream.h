// A server stream that sends what a source has, one write in flight, and waits for a wake-up when
// it has nothing. The source is asked on the pool, never in a reaction, so it may block.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/concurrency/worker_pool.h"
#include "common/rpc/status.h"

namespace atelier::coordinator {

template <typename Message>
struct Pulled {
  std::deque<Message> messages;
  bool ended = false;  // after these the stream ends OK
};

template <typename Message>
class PullStream final : public grpc::ServerWriteReactor<Message> {
 public:
  // `pull()` returns what is new since its last call. It is never called twice at once.
  using Pull = std::function<absl::StatusOr<Pulled<Message>>()>;

  PullStream(WorkerPool& pool, Pull pull) : pool_(pool), pull_(std::move(pull)) {}

  // Keeps what must live as long as the stream (a subscription that calls Wake). Call before the
  // first Wake.
  void Hold(std::shared_ptr<void> held) { held_ = std::move(held); }

  // There may be something new. Any thread; never blocks. When the pool is full the stream ends
  // UNAVAILABLE: a wake-up that was lost would leave it waiting for ever.
  void Wake() {
    MutexLock lock(mutex_);
    woken_ = true;
    MaybePull();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) return Close(grpc::Status(grpc::StatusCode::CANCELLED, "the client left"));
    queue_.pop_front();
    Advance();
  }
  void OnCancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (!writing_ && !pulling_) Close(grpc::Status(grpc::StatusCode::CANCELLED, "cancelled"));
  }
  void OnDone() override {
    held_.reset();  // no Wake after this
    {
      // A pull on the pool may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    delete this;
  }

 private:
  void MaybePull() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!woken_ || pulling_ || writing_ || finished_ || !queue_.empty()) return;
    woken_ = false;
    pulling_ = true;
    if (!pool_.Submit([this] { PullNow(); })) {
      pulling_ = false;
      Close(grpc::Status(grpc::StatusCode::UNAVAILABLE, "busy or shutting down; call again"));
    }
  }

  void PullNow() {
    absl::StatusOr<Pulled<Message>> pulled = pull_();
    MutexLock lock(mutex_);
    pulling_ = false;
    if (cancelled_) return Close(grpc::Status(grpc::StatusCode::CANCELLED, "cancelled"));
    if (!pulled.ok()) return Close(rpc::ToGrpcStatus(pulled.status()));
    queue_ = std::move(pulled->messages);
    ended_ = pulled->ended;
    // A full page means that there is more.
    if (!queue_.empty()) woken_ = true;
    Advance();
  }

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return;
    if (cancelled_) return Close(grpc::Status(grpc::StatusCode::CANCELLED, "cancelled"));
    if (!queue_.empty()) {
      writing_ = true;
      this->StartWrite(&queue_.front());
    } else if (ended_) {
      Close(grpc::Status::OK);
    } else {
      MaybePull();
    }
  }

  void Close(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return;
    finished_ = true;
    this->Finish(status);
  }

  WorkerPool& pool_;
  const Pull pull_;
  std::shared_ptr<void> held_;
  Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool pulling_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace atelier::coordinator
