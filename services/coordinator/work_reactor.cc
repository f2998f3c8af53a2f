#include "services/coordinator/work_reactor.h"

#include <deque>
#include <memory>
#include <utility>

#include "common/base/logging.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/fleet_service.h"

namespace atelier::coordinator {
namespace {

// Messages that a trainer has not taken yet. It is sent one for each of its own, and reads all the
// time: so many only pile up for one that has stopped reading.
constexpr size_t kMaxOutgoing = 1000;

// The executor keeps a function that sends to a trainer; it may call it when the stream has ended.
// This queue outlives the reactor and knows whether it is still there.
class WorkReactor;
struct Outbox {
  Mutex mutex;
  WorkReactor* reactor ABSL_GUARDED_BY(mutex) = nullptr;
};

class WorkReactor final
    : public grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage> {
 public:
  WorkReactor(RunExecutor& executor, WorkerPool& pool, grpc::CallbackServerContext& context)
      : executor_(executor), pool_(pool), context_(context) {
    {
      MutexLock lock(outbox_->mutex);
      outbox_->reactor = this;
    }
    drain_ = executor_.notifier()->Subscribe(kDrainTopic, [this] { EndDraining(); });
    if (executor_.notifier()->closed()) EndDraining();  // closed before there was a subscription
    MutexLock lock(mutex_);
    if (!finished_) StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    MutexLock lock(mutex_);
    if (finished_) return;
    handling_ = true;
    // Not ok: the trainer closed its side, or the stream broke.
    if (!pool_.Submit([this, ok] { HandleRead(ok); })) {
      handling_ = false;
      End({grpc::StatusCode::UNAVAILABLE, "the coordinator is busy or shutting down; reconnect"});
    }
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();  // OnReadDone ends the stream
    FinishIfIdle();
    WriteNext();
  }

  void OnDone() override {
    if (!trainer_id_.empty()) {
      // Disconnect waits for the executor's lock: not here, in the reaction, unless nobody else
      // would do it.
      if (!pool_.Submit([this] { Leave(); })) Leave();
    } else {
      Leave();
    }
  }

  void Enqueue(const v1::CoordinatorMessage& message) {
    MutexLock lock(mutex_);
    if (ending_) return;
    if (outgoing_.size() >= kMaxOutgoing) {
      // The write under way waits for a peer that does not read: only cancelling ends it, and that
      // is all the peer sees.
      LogWarning("trainer %s does not read what it is sent: its stream is cancelled", trainer_id_);
      context_.TryCancel();
      return End({grpc::StatusCode::RESOURCE_EXHAUSTED, "the trainer does not read; reconnect"});
    }
    outgoing_.push_back(message);
    WriteNext();
  }

 private:
  void HandleRead(bool ok) {
    const grpc::Status status = ok ? Handle(incoming_) : grpc::Status::OK;
    MutexLock lock(mutex_);
    handling_ = false;
    if (!ok || !status.ok()) End(status);
    if (ending_) return FinishIfIdle();
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void EndDraining() {
    MutexLock lock(mutex_);
    End({grpc::StatusCode::UNAVAILABLE, "the coordinator is draining; reconnect with the lease"});
  }

  void Leave() {
    drain_.reset();  // waits for an EndDraining under way
    {
      MutexLock lock(outbox_->mutex);
      outbox_->reactor = nullptr;
    }
    {
      // Another thread may still hold the lock under which it finished the stream.
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
      hello.set_predict_address(CompleteAddress(hello.predict_address(), context_.peer()));
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
    if (writing_ || ending_ || outgoing_.empty()) return;
    writing_ = true;
    StartWrite(&outgoing_.front());
  }

  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ending_) return;
    ending_ = true;
    end_ = status;
    FinishIfIdle();
  }

  // Once finished, this object may go as soon as the lock does: not while a job still uses it.
  void FinishIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!ending_ || finished_ || writing_ || handling_) return;
    finished_ = true;
    Finish(end_);
  }

  RunExecutor& executor_;
  WorkerPool& pool_;
  grpc::CallbackServerContext& context_;  // lives until OnDone
  const std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  v1::TrainerMessage incoming_;  // owned by the read under way or the job that handles it
  std::string trainer_id_;
  int64_t session_ = 0;
  std::unique_ptr<Notifier::Subscription> drain_;

  Mutex mutex_;
  std::deque<v1::CoordinatorMessage> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool handling_ ABSL_GUARDED_BY(mutex_) = false;  // a message, on the pool
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;    // as soon as nothing is under way
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage>* NewWorkReactor(
    RunExecutor& executor, WorkerPool& pool, grpc::CallbackServerContext& context) {
  return new WorkReactor(executor, pool, context);
}

}  // namespace atelier::coordinator
