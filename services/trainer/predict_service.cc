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
constexpr int kMaxInFlight = 8;

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

class PredictReactor final
    : public grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse> {
 public:
  explicit PredictReactor(PredictServiceImpl& service) : service_(service) {
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    MutexLock lock(mutex_);
    if (!ok) {
      read_closed_ = true;
      return MaybeFinish();
    }
    ++in_flight_;
    auto job = std::make_shared<PredictJob>();
    job->request = std::move(incoming_);
    incoming_.Clear();
    if (const absl::Status status = service_.Check(job->request); !status.ok()) {
      outgoing_.push_back(Refusal(job->request.id(), status));
      WriteNext();
    } else {
      job->done = [this](v1::PredictResponse response) {
        MutexLock answer_lock(mutex_);
        outgoing_.push_back(std::move(response));
        WriteNext();
      };
      if (!service_.Submit(job)) {
        --in_flight_;
        read_closed_ = true;
        refused_ = true;
        return MaybeFinish();
      }
    }
    if (in_flight_ < kMaxInFlight) {
      StartRead(&incoming_);
    } else {
      read_paused_ = true;
    }
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    --in_flight_;
    if (!ok) broken_ = true;
    if (read_paused_ && !broken_) {
      read_paused_ = false;
      StartRead(&incoming_);
    } else if (read_paused_) {
      read_paused_ = false;
      read_closed_ = true;
    }
    WriteNext();
    MaybeFinish();
  }

  void OnDone() override {
    {
      // Another thread may still hold the lock under which it finished the stream.
      MutexLock lock(mutex_);
    }
    delete this;
  }

 private:
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
  // The jobs in flight hold `this`: the stream ends after the last of them.
  void MaybeFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!read_closed_ || in_flight_ > 0 || finished_) return;
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
  bool read_paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerBidiReactor<v1::PredictRequest, v1::PredictResponse>* PredictServiceImpl::PredictStream(
    grpc::CallbackServerContext*) {
  return new PredictReactor(*this);
}

absl::Status PredictServiceImpl::Check(const v1::PredictRequest& request) const {
  if (request.size() < 0 || request.size() > kMaxPictures) {
    return absl::ResourceExhaustedError(
        absl::StrCat(request.size(), " pictures; a request has 0..", kMaxPictures));
  }
  return cache_.CheckHeld(request.model());
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

absl::StatusOr<v1::Matrix> PredictServiceImpl::Predict(const v1::PredictRequest& request,
                                                       const LoadedPredictor& predictor) {
  if (!predictor.ok()) return predictor.status();
  if (request.size() == 0) {
    if (!request.pixels().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("pixels has ", request.pixels().size(), " bytes for 0 pictures"));
    }
    v1::Matrix none;
    none.set_columns(request.model().classes());
    return none;
  }
  predictions_ += request.size();
  return (*predictor)->Predict(request.pixels(), request.size());
}

void PredictServiceImpl::Answer(PredictJob& job, const LoadedPredictor& predictor) {
  auto matrix = Predict(job.request, predictor);
  if (!matrix.ok()) return job.done(Refusal(job.request.id(), matrix.status()));
  v1::PredictResponse response;
  response.set_id(job.request.id());
  *response.mutable_probabilities() = *std::move(matrix);
  job.done(std::move(response));
}

}  // namespace atelier::trainer
