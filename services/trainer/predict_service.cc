#include "services/trainer/predict_service.h"

#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::trainer {
namespace {

constexpr int kMaxPictures = 64;
// Requests of one stream that were read and not yet answered: beyond it flow control holds the
// client.
constexpr int kMaxInFlight = 8;

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
    auto request = std::make_shared<v1::PredictRequest>(std::move(incoming_));
    incoming_.Clear();
    const bool accepted = service_.inference().Submit([this, request] {
      v1::PredictResponse response = service_.Answer(*request);
      MutexLock answer_lock(mutex_);
      outgoing_.push_back(std::move(response));
      WriteNext();
    });
    if (!accepted) {
      --in_flight_;
      read_closed_ = true;
      refused_ = true;
      return MaybeFinish();
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
    Finish(refused_ ? grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                   "the trainer is busy or shutting down; send again")
                    : grpc::Status::OK);
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

absl::StatusOr<v1::Matrix> PredictServiceImpl::Predict(const v1::PredictRequest& request) {
  if (request.size() < 0 || request.size() > kMaxPictures) {
    return absl::ResourceExhaustedError(
        absl::StrCat(request.size(), " pictures; a request has 0..", kMaxPictures));
  }
  ATELIER_ASSIGN_OR_RETURN(const auto predictor,
                           cache_.Get(request.model(), request.weights_digest()));
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
  return predictor->Predict(request.pixels(), request.size());
}

v1::PredictResponse PredictServiceImpl::Answer(const v1::PredictRequest& request) {
  v1::PredictResponse response;
  response.set_id(request.id());
  auto matrix = Predict(request);
  if (matrix.ok()) {
    *response.mutable_probabilities() = *std::move(matrix);
  } else {
    response.set_error_code(static_cast<int>(matrix.status().code()));
    response.set_error_message(std::string(matrix.status().message()));
  }
  return response;
}

}  // namespace atelier::trainer
