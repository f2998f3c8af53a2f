#include "services/trainer/predict_service.h"

#include <deque>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/status.h"

namespace atelier::trainer {
namespace {

constexpr int kMaxPictures = 64;
// Requests of one stream that were read and not yet answered: beyond it flow control holds the
// client.
// Many: some may wait for a download, others not. Their bytes are the budget's business.
constexpr int kMaxInFlight = 256;

absl::Status Busy() {
  return absl::UnavailableError("the trainer is busy or shutting down; send again");
}

v1::PredictResponse Refusal(uint64_t id, const absl::Status& status) {
  v1::PredictResponse response;
  response.set_id(id);
  response.set_error_code(static_cast<int>(status.code()));
  response.set_error_message(std::string(status.message()));
  return response;
}

// An error once nobody awaits the answer any more: what is spent on it would be late for others.
absl::Status CheckAwaited(const PredictJob& job) {
  if (job.abandoned && job.abandoned()) return absl::CancelledError("the client has gone");
  if (std::chrono::steady_clock::now() < job.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the request's turn came after its timeout_ms");
}

// Whether `bytes` are `n` pictures. No product here leaves an int64, whatever the request says: a
// message has less than 2^31 bytes, n is at most 64.
bool ArePictures(int64_t bytes, int64_t n, const v1::ImageSpec& image) {
  const int64_t side = image.size();
  const int64_t channels = image.channels() == 0 ? 3 : image.channels();
  if (side < 1 || channels < 1 || side * side > bytes) return false;
  const int64_t picture = side * side * channels;
  return picture <= bytes && n * picture == bytes;
}

class PredictReactor final
    : public grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse>,
      public ByteBudget::Reader,
      public DrainedStream {
 public:
  explicit PredictReactor(PredictServiceImpl& service) : service_(service) {
    const bool open = service_.Enter(*this);
    MutexLock lock(mutex_);
    if (!open) ending_ = refused_ = true;
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    int64_t unused = 0;
    {
      MutexLock lock(mutex_);
      // A request that comes after the drain's beginning is refused with the stream.
      if (!ok || ending_) {
        read_closed_ = true;
        return MaybeFinish();
      }
      unused = TakeIn();
    }
    // Not under the lock: it goes on with other streams.
    if (unused > 0) service_.budget().Release(unused);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    --in_flight_;
    if (!ok) Break();
    if (std::exchange(read_paused_, false)) ReadNext();
    WriteNext();
    MaybeFinish();
  }

  void OnRoom() override {
    MutexLock lock(mutex_);
    waits_for_room_ = false;
    ReadNext();
  }

  // Without it a stream that waits for room would not notice that its client has gone.
  void OnCancel() override {
    MutexLock lock(mutex_);
    Break();
    WriteNext();
    MaybeFinish();
  }

  void End() override {
    MutexLock lock(mutex_);
    ending_ = true;
    if (!read_closed_) refused_ = true;
    StopReading();
    MaybeFinish();
  }

  void OnDone() override {
    service_.Leave(*this);
    {
      // Another thread may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    delete this;
  }

 private:
  // What was read. Returns the bytes that were taken from the budget for nothing.
  int64_t TakeIn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++in_flight_;
    auto job = std::make_shared<PredictJob>();
    job->request = std::move(incoming_);
    incoming_.Clear();
    if (const absl::Status status = service_.Check(job->request); !status.ok()) {
      outgoing_.push_back(Refusal(job->request.id(), status));
      ReadNext();
      WriteNext();
      return 0;
    }
    const auto bytes = static_cast<int64_t>(job->request.SpaceUsedLong());
    job->bytes = bytes;
    job->done = [this](v1::PredictResponse response) {
      MutexLock lock(mutex_);
      outgoing_.push_back(std::move(response));
      WriteNext();
    };
    job->abandoned = [this] {
      MutexLock lock(mutex_);
      return broken_;
    };
    if (job->request.timeout_ms() > 0) {
      job->deadline =
          std::chrono::steady_clock::now() + std::chrono::milliseconds(job->request.timeout_ms());
    }
    service_.budget().Take(bytes);
    if (service_.Submit(job)) {
      ReadNext();
      return 0;
    }
    --in_flight_;
    read_closed_ = true;
    refused_ = true;
    MaybeFinish();
    return bytes;
  }
  // No read is under way. The next one is started here, by OnWriteDone or by OnRoom.
  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (broken_ || ending_) {
      read_closed_ = true;
      MaybeFinish();
    } else if (in_flight_ >= kMaxInFlight) {
      read_paused_ = true;
    } else if (!service_.budget().HasRoomOrWait(*this)) {
      waits_for_room_ = true;
    } else {
      StartRead(&incoming_);
    }
  }
  void Break() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    broken_ = true;
    StopReading();
  }
  // A read under way ends with the stream; one that waits is not started.
  void StopReading() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (waits_for_room_ && service_.budget().Leave(*this)) {
      waits_for_room_ = false;
      read_closed_ = true;
    }
    if (std::exchange(read_paused_, false)) read_closed_ = true;
  }
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_) return;
    if (broken_) {
      in_flight_ -= static_cast<int>(outgoing_.size());
      outgoing_.clear();
      return MaybeFinish();
    }
    if (outgoing_.empty()) return;
    writing_ = true;
    StartWrite(&outgoing_.front());
  }
  // The jobs in flight hold `this`, and so does the budget: the stream ends after the last of them.
  void MaybeFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (in_flight_ > 0 || waits_for_room_ || finished_) return;
    if (!read_closed_ && !ending_) return;
    finished_ = true;
    Finish(refused_ ? rpc::ToGrpcStatus(Busy()) : grpc::Status::OK);
  }

  PredictServiceImpl& service_;
  v1::PredictRequest incoming_;
  Mutex mutex_;
  std::deque<v1::PredictResponse> outgoing_ ABSL_GUARDED_BY(mutex_);
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_paused_ ABSL_GUARDED_BY(mutex_) = false;     // until an answer is written
  bool waits_for_room_ ABSL_GUARDED_BY(mutex_) = false;  // until OnRoom
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // with the service
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse>* PredictServiceImpl::PredictStream(
    grpc::CallbackServerContext*) {
  return new PredictReactor(*this);
}

void PredictServiceImpl::Drain() {
  MutexLock lock(streams_mutex_);
  draining_ = true;
  for (DrainedStream* stream : streams_) stream->End();
}

bool PredictServiceImpl::Enter(DrainedStream& stream) {
  MutexLock lock(streams_mutex_);
  streams_.insert(&stream);
  return !draining_;
}

void PredictServiceImpl::Leave(DrainedStream& stream) {
  MutexLock lock(streams_mutex_);
  streams_.erase(&stream);
}

absl::Status PredictServiceImpl::Check(const v1::PredictRequest& request) const {
  if (request.size() < 0 || request.size() > kMaxPictures) {
    return absl::ResourceExhaustedError(
        absl::StrCat(request.size(), " pictures; a request has 0..", kMaxPictures));
  }
  ATELIER_RETURN_IF_ERROR(cache_.CheckHeld(request.model()));
  const auto bytes = static_cast<int64_t>(request.pixels().size());
  const v1::ImageSpec& image = request.model().image();
  if (request.size() == 0 ? bytes == 0 : ArePictures(bytes, request.size(), image)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("pixels has ", bytes, " bytes for ",
                                                 request.size(), " pictures of size ", image.size(),
                                                 " and ", image.channels(), " channels"));
}

std::shared_ptr<nn::Predictor> PredictServiceImpl::Find(const PredictJob& job) {
  return cache_.Find(job.request.model(), job.request.weights_digest());
}

bool PredictServiceImpl::Submit(const std::shared_ptr<PredictJob>& job) {
  if (Find(*job) == nullptr) return SubmitLoad(job);
  return inference_.Submit([this, job] {
    // Looked up again: a job that waits keeps no member from being evicted.
    if (const auto predictor = Find(*job); predictor != nullptr) return Answer(*job, predictor);
    if (!SubmitLoad(job)) Answer(*job, Busy());
  });
}

bool PredictServiceImpl::SubmitLoad(const std::shared_ptr<PredictJob>& job) {
  return loading_.Submit([this, job] { Load(job); });
}

void PredictServiceImpl::Load(const std::shared_ptr<PredictJob>& job) {
  if (const absl::Status status = CheckAwaited(*job); !status.ok()) return Answer(*job, status);
  const bool missing = Find(*job) == nullptr;
  const LoadedPredictor predictor = cache_.Get(job->request.model(), job->request.weights_digest());
  if (!predictor.ok() || job->request.size() == 0) return Answer(*job, predictor);
  // The job takes its member along, so that it comes to an end whatever is loaded meanwhile.
  const auto begun = std::make_shared<std::promise<void>>();
  const bool accepted = inference_.Submit([this, job, begun, predictor] {
    begun->set_value();
    Answer(*job, predictor);
  });
  if (!accepted) return Answer(*job, Busy());
  // By then every job that took along what was evicted for this member has ended. Without that,
  // loads that are faster than forwards would hold more members than the cache may.
  if (missing) begun->get_future().wait();
}

absl::StatusOr<v1::Matrix> PredictServiceImpl::Predict(const PredictJob& job,
                                                       const LoadedPredictor& predictor) {
  if (!predictor.ok()) return predictor.status();
  const v1::PredictRequest& request = job.request;
  if (request.size() == 0) {
    v1::Matrix none;
    none.set_columns(request.model().classes());
    return none;
  }
  ATELIER_RETURN_IF_ERROR(CheckAwaited(job));
  predictions_ += request.size();
  return (*predictor)->Predict(request.pixels(), request.size());
}

void PredictServiceImpl::Answer(PredictJob& job, const LoadedPredictor& predictor) {
  auto matrix = Predict(job, predictor);
  const uint64_t id = job.request.id();
  job.request = v1::PredictRequest();
  budget_.Release(job.bytes);
  if (!matrix.ok()) return job.done(Refusal(id, matrix.status()));
  v1::PredictResponse response;
  response.set_id(id);
  *response.mutable_probabilities() = *std::move(matrix);
  job.done(std::move(response));
}

}  // namespace atelier::trainer
