#include "services/aggregator/prediction.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "services/aggregator/fan_out.h"

namespace atelier::aggregator {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Kept of the remaining time for combining and the way back to the client.
SteadyClock::time_point AnswerBy(SteadyClock::time_point deadline) {
  const auto remaining = deadline - SteadyClock::now();
  return deadline -
         std::clamp<SteadyClock::duration>(remaining / 10, milliseconds(20), milliseconds(500));
}

absl::StatusOr<Prediction> Combine(const ServedModel& model, FanOutResult result) {
  Prediction prediction;
  ATELIER_ASSIGN_OR_RETURN(prediction.probabilities, ensemble::Mean(result.answers));
  const auto& ensemble = model.version->ensemble;
  for (int row = 0; row < prediction.probabilities.rows; ++row) {
    prediction.labels.push_back(
        ensemble.classes(ensemble::ArgMax(prediction.probabilities.row(row))));
  }
  const auto name = [&](int i) {
    return model.version->members[model.members[static_cast<size_t>(i)]]->spec().name();
  };
  for (const int i : result.used) prediction.members_used.push_back(name(i));
  for (const MemberFailure& failure : result.failed) {
    prediction.members_failed.push_back(name(failure.member));
  }
  prediction.degraded = !prediction.members_failed.empty();
  prediction.member_probabilities = std::move(result.answers);
  return prediction;
}

// One request from the door to its answer. Jobs that come too late find it ended and touch nothing
// of the request's memory.
class PredictionCall : public std::enable_shared_from_this<PredictionCall> {
 public:
  PredictionCall(PredictionRequest request, std::unique_ptr<Admission::Ticket> ticket,
                 PreparationPlan plan, const vision::DecodeLimits& limits, DeadlineTimer& timer,
                 Metrics& metrics, PredictionEngine::Done done)
      : request_(std::move(request)),
        plan_(std::move(plan)),
        limits_(limits),
        room_(MakeRoom(plan_, request_.pictures.count)),
        answer_by_(AnswerBy(request_.deadline)),
        timer_(timer),
        metrics_(metrics),
        ticket_(std::move(ticket)),
        done_(std::move(done)),
        failed_index_(request_.pictures.count) {}

  void Start(WorkerPool& decoding) {
    {
      MutexLock lock(mutex_);
      timer_id_ = timer_.Schedule(answer_by_, [self = shared_from_this()] { self->OnTimeOver(); });
    }
    for (int i = 0; i < request_.pictures.count; ++i) {
      if (decoding.Submit([self = shared_from_this(), i] { self->Prepare(i); })) continue;
      return OnTimeOver();  // shutting down; jobs already taken may still read the request
    }
  }

 private:
  void Prepare(int index) {
    {
      MutexLock lock(mutex_);
      if (ended_ || late_) return;
      ++running_;
    }
    absl::Status status;
    if (index < LowestFailure()) {
      status = request_.cancelled && request_.cancelled()
                   ? absl::CancelledError("the client went away")
                   : PreparePicture(request_.pictures, index, plan_, room_, limits_);
    }
    bool over = false;
    bool all = false;
    absl::Status failure;
    {
      MutexLock lock(mutex_);
      --running_;
      ++prepared_;
      if (!status.ok() && index < failed_index_) {
        failed_index_ = index;
        failure_ = status;
      }
      failure = failure_;
      over = late_ && running_ == 0;
      all = prepared_ == request_.pictures.count && !late_;
    }
    if (over) return Finish(TooLate());
    if (!all) return;
    if (!failure.ok()) return Finish(std::move(failure));
    if (SteadyClock::now() >= answer_by_) return Finish(TooLate());
    AskMembers();
  }

  int LowestFailure() {
    MutexLock lock(mutex_);
    return failed_index_;
  }

  void OnTimeOver() {
    {
      MutexLock lock(mutex_);
      if (ended_ || asking_) return;  // FanOut keeps its own time
      late_ = true;
      if (running_ > 0) return;  // whoever is still reading the request's memory finishes it
    }
    Finish(TooLate());
  }

  void AskMembers() {
    FanOutRequest fan_out;
    fan_out.min_members = request_.model.min_members;
    fan_out.answer_by = answer_by_;
    DeadlineTimer::Id timer_id;
    {
      MutexLock lock(mutex_);
      if (ended_ || late_) return;
      asking_ = true;
      timer_id = timer_id_;
      for (size_t i = 0; i < request_.model.members.size(); ++i) {
        fan_out.members.push_back(request_.model.version->members[request_.model.members[i]]);
        fan_out.pictures.push_back(room_[plan_.spec_of_member[i]]);
      }
      room_.clear();
    }
    timer_.Cancel(timer_id);
    FanOut(
        std::move(fan_out), timer_,
        [&metrics = metrics_](const Member& member, const absl::Status& status) {
          metrics.RecordMemberFailure(member.spec().name(), status);
        },
        [self = shared_from_this()](absl::StatusOr<FanOutResult> result) {
          self->Finish(result.ok() ? Combine(self->request_.model, *std::move(result))
                                   : absl::StatusOr<Prediction>(result.status()));
        });
  }

  static absl::Status TooLate() {
    return absl::UnavailableError(
        "no time was left to ask the members once the pictures were decoded: allow more, or send "
        "fewer");
  }

  void Finish(absl::StatusOr<Prediction> prediction) {
    DeadlineTimer::Id timer_id;
    std::unique_ptr<Admission::Ticket> ticket;
    {
      MutexLock lock(mutex_);
      if (std::exchange(ended_, true)) return;
      timer_id = timer_id_;
      ticket = std::move(ticket_);
    }
    timer_.Cancel(timer_id);
    // The ticket goes after the answer: an aggregator that drains waits for the answer, too.
    done_(std::move(prediction));
  }

  const PredictionRequest request_;
  const PreparationPlan plan_;
  const vision::DecodeLimits limits_;
  std::vector<std::shared_ptr<Pixels>> room_;  // written by Prepare, each index once
  const SteadyClock::time_point answer_by_;
  DeadlineTimer& timer_;
  Metrics& metrics_;
  Mutex mutex_;
  std::unique_ptr<Admission::Ticket> ticket_ ABSL_GUARDED_BY(mutex_);
  const PredictionEngine::Done done_;
  DeadlineTimer::Id timer_id_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int prepared_ ABSL_GUARDED_BY(mutex_) = 0;
  int failed_index_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool late_ ABSL_GUARDED_BY(mutex_) = false;    // time was over while preparing
  bool asking_ ABSL_GUARDED_BY(mutex_) = false;  // members have been asked
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<ServedModel> FindModel(const VersionManager& manager, const std::string& name,
                                      const std::string& version) {
  ServedModel model;
  model.version = manager.Current();
  model.name = name;
  if (model.version == nullptr) {
    const absl::Status refusal = manager.refusal();
    return absl::FailedPreconditionError(
        absl::StrCat("no ensemble version is served yet",
                     refusal.ok() ? ": train one or promote one (atelier ensembles promote)"
                                  : absl::StrCat(": ", refusal.message())));
  }
  std::vector<std::string> names = {kEnsembleModel};
  for (size_t i = 0; i < model.version->members.size(); ++i) {
    names.push_back(model.version->members[i]->spec().name());
    if (name == kEnsembleModel || name == names.back()) model.members.push_back(i);
  }
  if (model.members.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no model of this name; there are: ", absl::StrJoin(names, ", ")));
  }
  const std::string served = absl::StrCat(model.version->ensemble.version());
  if (!version.empty() && version != served) {
    return absl::NotFoundError(absl::StrCat("model ", name, " is served in version ", served,
                                            " only; leave the version out or ask for that one"));
  }
  model.min_members = name == kEnsembleModel ? model.version->min_members : 1;
  return model;
}

PredictionEngine::PredictionEngine(const RequestLimits& limits, Admission& admission,
                                   WorkerPool& decoding, DeadlineTimer& timer, Metrics& metrics)
    : limits_(limits),
      admission_(admission),
      decoding_(decoding),
      timer_(timer),
      metrics_(metrics) {}

void PredictionEngine::Predict(PredictionRequest request, Done done) {
  const absl::Status checked =
      CheckPictures(request.pictures, limits_.max_pictures, limits_.picture);
  if (!checked.ok()) return done(checked);
  std::vector<const v1::EnsembleMember*> members;
  for (const size_t i : request.model.members) {
    members.push_back(&request.model.version->members[i]->spec());
  }
  PreparationPlan plan = PlanPreparation(members);
  const int64_t bytes =
      request.pictures.payload_bytes() + plan.bytes_per_picture() * request.pictures.count;
  auto ticket = admission_.Enter(request.pictures.count, bytes);
  if (!ticket.ok()) return done(ticket.status());
  metrics_.SetQueueBytes(admission_.bytes());
  auto counted = [this, bytes, done = std::move(done)](absl::StatusOr<Prediction> prediction) {
    metrics_.SetQueueBytes(admission_.bytes() - bytes);  // its ticket is about to go
    done(std::move(prediction));
  };
  std::make_shared<PredictionCall>(std::move(request), *std::move(ticket), std::move(plan),
                                   limits_.picture, timer_, metrics_, std::move(counted))
      ->Start(decoding_);
}

}  // namespace atelier::aggregator
