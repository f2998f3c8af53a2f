#include "services/coordinator/work_reactor.h"

#include <deque>
#include <memory>
#include <utility>

#include "common/concurrency/mutex.h"
#include "services/coordinator/fleet_service.h"

namespace atelier::coordinator {
namespace {

// The executor keeps a function that sends to a trainer; it may call it when the stream has ended.
// This queue outlives the reactor and knows whether it is still there.
class WorkReactor;
struct Outbox {
  Mutex mutex;
  WorkReactor* reactor ABSL_GUARDED_BY(mutex) = nullptr;
};

class WorkReactor final : public grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage> {
 public:
  WorkReactor(RunExecutor& executor, WorkerPool& pool, std::string peer)
      : executor_(executor), pool_(pool), peer_(std::move(peer)) {
    {
      MutexLock lock(outbox_->mutex);
      outbox_->reactor = this;
    }
    drain_ = executor_.notifier()->Subscribe(kDrainTopic, [this] { EndDraining(); });
    if (executor_.notifier()->closed()) EndDraining();  // closed before there was a subscription
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      // The trainer closed its side, or the stream broke.
      HandleOnPool([this] { End(grpc::Status::OK); });
      return;
    }
    HandleOnPool([this] {
      const grpc::Status status = Handle(incoming_);
      if (!status.ok()) return End(status);
      incoming_.Clear();
      StartRead(&incoming_);
    });
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();  // OnReadDone ends the stream
    if (finished_) return Finish(end_);
    WriteNext();
  }

  void OnDone() override {
    if (!trainer_id_.empty()) {
      // Disconnect waits for the executor's lock: not here, in the reaction.
      if (!pool_.Submit([this] { Leave(); })) Leave();
    } else {
      Leave();
    }
  }

  void Enqueue(const v1::CoordinatorMessage& message) {
    MutexLock lock(mutex_);
    if (finished_) return;
    outgoing_.push_back(message);
    WriteNext();
  }

 private:
  void HandleOnPool(std::function<void()> work) {
    if (!pool_.Submit(std::move(work))) {
      End({grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down; reconnect"});
    }
  }

  void EndDraining() {
    End({grpc::StatusCode::UNAVAILABLE, "the coordinator is draining; reconnect with the lease"});
  }

  void Leave() {
    drain_.reset();  // waits for an EndDraining under way
    {
      MutexLock lock(outbox_->mutex);
      outbox_->reactor = nullptr;
    }
    {
      // End() on another thread may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    if (!trainer_id_.empty()) executor_.Disconnect(trainer_id_, session_);
    delete this;
  }

  grpc::Status Handle(v1::TrainerMessage& message) {
    if (message.has_hello()) {
      if (!trainer_id_.empty()) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "hello was said before"};
      }
      v1::TrainerHello& hello = *message.mutable_hello();
      if (hello.trainer_id().empty() || hello.trainer_id().size() > 128) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "hello.trainer_id: 1 to 128 characters"};
      }
      hello.set_predict_address(CompleteAddress(hello.predict_address(), peer_));
      trainer_id_ = hello.trainer_id();
      session_ = executor_.Connect(hello, [outbox = outbox_](const v1::CoordinatorMessage& out) {
        MutexLock lock(outbox->mutex);
        if (outbox->reactor != nullptr) outbox->reactor->Enqueue(out);
      });
      return grpc::Status::OK;
    }
    if (trainer_id_.empty()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must be hello"};
    }
    executor_.OnHeard(trainer_id_);
    if (message.has_progress()) executor_.OnProgress(trainer_id_, message.progress());
    if (message.has_draining()) executor_.OnDraining(trainer_id_);
    return grpc::Status::OK;
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_ || outgoing_.empty()) return;
    writing_ = true;
    StartWrite(&outgoing_.front());
  }

  void End(const grpc::Status& status) {
    MutexLock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    end_ = status;
    if (!writing_) Finish(end_);  // else once the write is done
  }

  RunExecutor& executor_;
  WorkerPool& pool_;
  const std::string peer_;
  const std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  v1::TrainerMessage incoming_;  // owned by the read under way or the job that handles it
  std::string trainer_id_;
  int64_t session_ = 0;
  std::unique_ptr<Notifier::Subscription> drain_;

  Mutex mutex_;
  std::deque<v1::CoordinatorMessage> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage>* NewWorkReactor(
    RunExecutor& executor, WorkerPool& pool, std::string peer) {
  return new WorkReactor(executor, pool, std::move(peer));
}

}  // namespace atelier::coordinator
