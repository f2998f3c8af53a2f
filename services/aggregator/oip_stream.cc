#include "services/aggregator/oip_stream.h"

#include <atomic>
#include <deque>
#include <memory>
#include <utility>

#include "common/base/utf8.h"
#include "services/aggregator/call_wire.h"

namespace atelier::aggregator {
namespace {

// Enough to keep the members busy while an answer travels; more would only be memory.
constexpr size_t kReadAhead = 4;

}  // namespace

// Reactions and answers only change state under the lock; what to start next is decided there and
// started outside, because gRPC may run the next reaction inside the call that starts it. Finish
// waits for starts under way (`starting_`), so that none touches a call that is gone.
class OipStreams::Stream final : public Reactor, public std::enable_shared_from_this<Stream> {
 public:
  Stream(OipStreams& owner, grpc::CallbackServerContext* context)
      : owner_(owner), context_(context) {}

  void Begin() {
    Act([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { reading_ = false; });
  }
  void Close() {
    Act([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { closing_ = true; });
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Slot> slot;
    {
      MutexLock lock(mutex_);
      slot = std::move(incoming_);
      if (ok) slots_.push_back(slot);
    }
    if (ok) Work(slot);
    Act([this, ok]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      reading_ = false;
      if (!ok) read_all_ = true;
    });
  }

  void OnWriteDone(bool ok) override {
    std::shared_ptr<Slot> written;  // destroyed without the lock
    Act([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      written = std::move(slots_.front());
      slots_.pop_front();
      writing_ = false;
      if (!ok) broken_ = true;
    });
  }

  void OnCancel() override {
    cancelled_ = true;
    Act([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { broken_ = true; });
  }

  void OnDone() override { owner_.Forget(this); }  // the last reaction; deletes this

 private:
  struct Slot {
    Bounded<inference::ModelInferRequest> request;  // nothing once it is answered
    inference::ModelStreamInferResponse response;
    bool ready = false;
  };

  void Work(const std::shared_ptr<Slot>& slot) {
    if (!slot->request.refusal.ok()) return Answer(slot, slot->request.refusal);
    const auto deadline = DeadlineOf(*context_, owner_.serving_.engine.limits().imposed_deadline);
    OipInfer(
        owner_.serving_, "oip_stream", slot->request.message, deadline,
        [this] { return cancelled_.load(); },
        [self = shared_from_this(), slot](auto answer) { self->Answer(slot, std::move(answer)); });
  }

  void Answer(const std::shared_ptr<Slot>& slot,
              absl::StatusOr<inference::ModelInferResponse> answer) {
    auto& response = *slot->response.mutable_infer_response();
    if (answer.ok()) {
      response = *std::move(answer);
    } else {
      // A member's words may be anything, and what is no UTF-8 breaks the whole stream.
      slot->response.set_error_message(
          ReplaceInvalidUtf8(answer.status().ToString(absl::StatusToStringMode::kWithNoExtraData)));
      response.set_model_name(slot->request.message.model_name());
      response.set_id(slot->request.message.id());
    }
    // Admission counts the request no longer, and how long the answer waits is the client's choice.
    inference::ModelInferRequest().Swap(&slot->request.message);
    Act([&slot]() { slot->ready = true; });
  }

  struct Next {
    Bounded<inference::ModelInferRequest>* read = nullptr;
    const inference::ModelStreamInferResponse* write = nullptr;
    bool finish = false;
  };

  // Applies `change`, then starts what became possible.
  template <typename Change>
  void Act(Change change) {
    Next next;
    {
      MutexLock lock(mutex_);
      change();
      next = Decide();
    }
    while (next.read != nullptr || next.write != nullptr) {
      if (next.write != nullptr) StartWrite(next.write);
      if (next.read != nullptr) StartRead(next.read);
      MutexLock lock(mutex_);
      --starting_;
      next = Decide();
    }
    if (next.finish) Finish(EndStatus());
  }

  Next Decide() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Next next;
    if (finished_) return next;
    while (broken_ && !writing_ && !slots_.empty() && slots_.front()->ready) slots_.pop_front();
    if (!writing_ && !broken_ && !slots_.empty() && slots_.front()->ready) {
      writing_ = true;
      next.write = &slots_.front()->response;
    }
    const bool ending = read_all_ || closing_ || broken_;
    if (!ending && !reading_ && slots_.size() < kReadAhead) {
      reading_ = true;
      incoming_ = std::make_shared<Slot>();
      next.read = &incoming_->request;
    }
    if (next.read != nullptr || next.write != nullptr) ++starting_;
    if (ending && slots_.empty() && !writing_ && starting_ == 0) finished_ = next.finish = true;
    return next;
  }

  grpc::Status EndStatus() {
    MutexLock lock(mutex_);
    if (broken_) return {grpc::StatusCode::CANCELLED, "the client went away"};
    if (read_all_) return grpc::Status::OK;
    return {grpc::StatusCode::UNAVAILABLE, "this aggregator is shutting down; reconnect"};
  }

  OipStreams& owner_;
  grpc::CallbackServerContext* const context_;
  std::atomic<bool> cancelled_{false};
  Mutex mutex_;
  std::shared_ptr<Slot> incoming_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Slot>> slots_ ABSL_GUARDED_BY(mutex_);  // read, not yet answered
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;                      // until Begin
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool read_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

OipStreams::OipStreams(const Serving& serving) : serving_(serving) {}

OipStreams::~OipStreams() = default;

OipStreams::Reactor* OipStreams::Open(grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<Stream>(*this, context);
  bool closed = false;
  {
    MutexLock lock(mutex_);
    open_[stream.get()] = stream;
    closed = closed_;
  }
  if (closed) stream->Close();
  stream->Begin();
  return stream.get();  // alive in open_ until OnDone, which comes after this return
}

void OipStreams::Close() {
  std::map<Stream*, std::shared_ptr<Stream>> open;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    open = open_;
  }
  for (const auto& [key, stream] : open) stream->Close();
}

void OipStreams::Forget(Stream* stream) {
  std::shared_ptr<Stream> forgotten;  // destroyed without the lock
  MutexLock lock(mutex_);
  const auto found = open_.find(stream);
  if (found == open_.end()) return;
  forgotten = std::move(found->second);
  open_.erase(found);
}

}  // namespace atelier::aggregator
