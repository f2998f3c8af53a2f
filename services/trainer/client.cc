#include "services/trainer/client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "atelier/v1/trainer_service.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/status.h"

namespace atelier::trainer {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// At least one: 0 would mean that there is no deadline.
int32_t MillisecondsUntil(SteadyTime deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int32_t>(
      std::clamp<int64_t>(left.count(), 1, std::numeric_limits<int32_t>::max()));
}

// Requests that wait for their answers, whatever stream carries them. A request is kept here until
// it is written, so that its pixels go when it expires.
class Pending {
 public:
  Pending() : timer_([this] { Expire(); }) {}
  ~Pending() {
    {
      MutexLock lock(mutex_);
      closing_ = true;
      changed_.NotifyAll();
    }
    timer_.join();
    FailAll(0, absl::CancelledError("the client is closing"));
  }

  uint64_t Add(int64_t stream, SteadyTime deadline, v1::PredictRequest request,
               PredictClient::Done done) {
    MutexLock lock(mutex_);
    const uint64_t id = next_id_++;
    request.set_id(id);
    waiting_[id] = {stream, deadline, std::move(request), std::move(done)};
    changed_.NotifyAll();
    return id;
  }
  // What to write for `id`; nothing when nobody waits for its answer any more. Once only.
  std::optional<v1::PredictRequest> TakeRequest(uint64_t id) {
    MutexLock lock(mutex_);
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return std::nullopt;
    v1::PredictRequest request = std::exchange(found->second.request, {});
    request.set_timeout_ms(MillisecondsUntil(found->second.deadline));
    return request;
  }
  void Complete(const v1::PredictResponse& response) {
    PredictClient::Done done;
    {
      MutexLock lock(mutex_);
      const auto found = waiting_.find(response.id());
      if (found == waiting_.end()) return;  // its deadline has passed
      done = std::move(found->second.done);
      waiting_.erase(found);
      BeginCalling();
    }
    if (response.error_code() != 0) {
      done(absl::Status(static_cast<absl::StatusCode>(response.error_code()),
                        response.error_message()));
    } else {
      done(response.probabilities());
    }
    done = nullptr;  // what it holds goes before whoever waits for it goes on
    EndCalling();
  }
  // Those of one stream; 0: all.
  void FailAll(int64_t stream, const absl::Status& status) {
    std::vector<PredictClient::Done> failed;
    {
      MutexLock lock(mutex_);
      std::erase_if(waiting_, [&](auto& entry) {
        if (stream != 0 && entry.second.stream != stream) return false;
        failed.push_back(std::move(entry.second.done));
        return true;
      });
      BeginCalling();
    }
    for (PredictClient::Done& done : failed) done(status);
    failed.clear();
    EndCalling();
  }
  // Until no other thread is in a callback: whoever took one out of waiting_ calls it without the
  // lock. A callback that destroys the client does not wait for itself.
  void WaitForCallbacks() {
    MutexLock lock(mutex_);
    const auto self = std::this_thread::get_id();
    called_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return calling_.size() == calling_.count(self);
    });
  }

 private:
  // Under the lock that takes callbacks out of waiting_, and once they have run and are destroyed.
  void BeginCalling() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    calling_.insert(std::this_thread::get_id());
  }
  void EndCalling() {
    MutexLock lock(mutex_);
    calling_.erase(calling_.find(std::this_thread::get_id()));
    called_.NotifyAll();
  }

  struct Waiting {
    int64_t stream = 0;
    SteadyTime deadline{};
    v1::PredictRequest request;  // empty once it was taken
    PredictClient::Done done;
  };

  void Expire() {
    while (true) {
      std::vector<PredictClient::Done> expired;
      {
        MutexLock lock(mutex_);
        if (closing_) return;
        SteadyTime next = std::chrono::steady_clock::now() + std::chrono::hours(1);
        for (const auto& [id, waiting] : waiting_) next = std::min(next, waiting.deadline);
        const uint64_t seen = next_id_;
        changed_.WaitUntil(mutex_, next, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return closing_ || next_id_ != seen;
        });
        const SteadyTime now = std::chrono::steady_clock::now();
        std::erase_if(waiting_, [&](auto& entry) {
          if (entry.second.deadline > now) return false;
          expired.push_back(std::move(entry.second.done));
          return true;
        });
        BeginCalling();
      }
      for (PredictClient::Done& done : expired) {
        done(absl::DeadlineExceededError("the trainer did not answer in time"));
      }
      expired.clear();
      EndCalling();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  CondVar called_;  // its own: an answer does not wake the timer
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  // Threads that call back now; one that does so within a callback is there twice.
  std::multiset<std::thread::id> calling_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread timer_;
};

// One stream. Lives until OnDone, by holding itself.
class Stream final : public grpc::ClientBidiReactor<v1::PredictRequest, v1::PredictResponse>,
                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<v1::TrainerService::Stub> stub, std::shared_ptr<Pending> pending,
         int64_t id)
      : stub_(std::move(stub)), pending_(std::move(pending)), id_(id) {}

  void Begin() {
    self_ = shared_from_this();
    stub_->async()->PredictStream(&context_, this);
    AddHold();  // writes start outside of reactions
    StartRead(&incoming_);
    StartCall();
  }
  // False when the stream has ended.
  bool Send(uint64_t request) {
    MutexLock lock(mutex_);
    if (ended_) return false;
    outgoing_.push_back(request);
    WriteNext();
    return true;
  }
  bool ended() {
    MutexLock lock(mutex_);
    return ended_;
  }
  void Cancel() { context_.TryCancel(); }
  int64_t id() const { return id_; }
  // What requests that were left without an answer end with.
  absl::Status Broken(const std::string& why) {
    MutexLock lock(mutex_);
    return answered_ ? absl::AbortedError(why) : absl::UnavailableError(why);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      bool release = false;
      {
        MutexLock lock(mutex_);
        release = !ended_;
        ended_ = true;
      }
      context_.TryCancel();
      if (release) RemoveHold();
      return;
    }
    {
      MutexLock lock(mutex_);
      answered_ = true;
    }
    pending_->Complete(incoming_);
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool) override {
    MutexLock lock(mutex_);
    writing_.reset();
    if (!ended_) WriteNext();
  }
  void OnDone(const grpc::Status& status) override {
    pending_->FailAll(
        id_, Broken(status.ok() ? "the trainer closed the stream" : status.error_message()));
    self_.reset();
  }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_.has_value()) return;
    while (!writing_.has_value() && !outgoing_.empty()) {
      writing_ = pending_->TakeRequest(outgoing_.front());
      outgoing_.pop_front();
    }
    if (writing_.has_value()) StartWrite(&*writing_);
  }

  const std::shared_ptr<v1::TrainerService::Stub> stub_;
  const std::shared_ptr<Pending> pending_;
  const int64_t id_;
  grpc::ClientContext context_;  // long-lived; each request has its own deadline
  v1::PredictResponse incoming_;
  std::shared_ptr<Stream> self_;
  Mutex mutex_;
  std::deque<uint64_t> outgoing_ ABSL_GUARDED_BY(mutex_);              // ids
  std::optional<v1::PredictRequest> writing_ ABSL_GUARDED_BY(mutex_);  // under way
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

class PredictClientImpl final : public PredictClient {
 public:
  explicit PredictClientImpl(std::shared_ptr<grpc::Channel> channel)
      : stub_(v1::TrainerService::NewStub(std::move(channel))) {}
  ~PredictClientImpl() override {
    {
      MutexLock lock(mutex_);
      if (stream_ != nullptr) stream_->Cancel();
    }
    pending_->FailAll(0, absl::CancelledError("the client is closing"));
    pending_->WaitForCallbacks();
  }

  void Predict(v1::PredictRequest request, SteadyTime deadline, Done done) override {
    std::shared_ptr<Stream> stream;
    {
      MutexLock lock(mutex_);
      if (stream_ == nullptr || stream_->ended()) {
        stream_ = std::make_shared<Stream>(stub_, pending_, ++stream_id_);
        stream_->Begin();
      }
      stream = stream_;
    }
    const uint64_t id = pending_->Add(stream->id(), deadline, std::move(request), std::move(done));
    if (!stream->Send(id)) {
      pending_->FailAll(stream->id(), stream->Broken("the stream to the trainer broke"));
    }
  }

 private:
  const std::shared_ptr<v1::TrainerService::Stub> stub_;
  const std::shared_ptr<Pending> pending_ = std::make_shared<Pending>();
  Mutex mutex_;
  std::shared_ptr<Stream> stream_ ABSL_GUARDED_BY(mutex_);
  int64_t stream_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<PredictClient> PredictClient::Create(std::shared_ptr<grpc::Channel> channel) {
  return std::make_unique<PredictClientImpl>(std::move(channel));
}

}  // namespace atelier::trainer
