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

// Payload, prepared pixels, and what the members copy of these.
int64_t BytesNeeded(const PredictionRequest& request, const PreparationPlan& plan) {
  const int64_t count = request.pictures.count;
  int64_t bytes = request.pictures.payload_bytes() + plan.bytes_per_picture() * count;
  for (size_t i = 0; i < request.model.members.size(); ++i) {
    const Member& member = *request.model.version->members[request.model.members[i]];
    const int64_t own = plan.bytes_per_picture(i) * count;
    bytes += own * member.Copies(own);
  }
  return bytes;
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
      timer_id_ = timer_.Schedule(answer_by_, [self = shared_from_this()] {
        self->EndEarly(TooLate(), WhileAsking::kGoOn);  // FanOut keeps its own time
      });
    }
    for (int i = 0; i < request_.pictures.count; ++i) {
      if (decoding.Submit([self = shared_from_this(), i] { self->Prepare(i); })) continue;
      return CutOff();
    }
  }

  // The answer is Unavailable and waits for nothing but those that read the request's memory now.
  void CutOff() {
    EndEarly(absl::UnavailableError("this aggregator is shutting down; try another one"),
             WhileAsking::kEnd);
  }

 private:
  enum class WhileAsking { kGoOn, kEnd };

  void Prepare(int index) {
    {
      MutexLock lock(mutex_);
      if (ended_ || !early_end_.ok()) return;
      ++running_;
    }
    absl::Status status;
    if (index < LowestFailure()) {
      status = request_.cancelled && request_.cancelled()
                   ? absl::CancelledError("the client went away")
                   : PreparePicture(request_.pictures, index, plan_, room_, limits_);
    }
    absl::Status early_end;
    bool last = false;
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
      early_end = early_end_;
      last = running_ == 0;
      all = prepared_ == request_.pictures.count;
    }
    if (!early_end.ok() && last) return Finish(std::move(early_end));
    if (!early_end.ok() || !all) return;
    if (!failure.ok()) return Finish(std::move(failure));
    if (SteadyClock::now() >= answer_by_) return Finish(TooLate());
    AskMembers();
  }

  int LowestFailure() {
    MutexLock lock(mutex_);
    return failed_index_;
  }

  void EndEarly(absl::Status why, WhileAsking asking) {
    {
      MutexLock lock(mutex_);
      if (ended_ || (asking_ && asking == WhileAsking::kGoOn)) return;
      early_end_ = why;
      if (running_ > 0) return;  // whoever is still reading the request's memory finishes it
    }
    Finish(std::move(why));
  }

  void AskMembers() {
    FanOutRequest fan_out;
    fan_out.min_members = request_.model.min_members;
    fan_out.answer_by = answer_by_;
    DeadlineTimer::Id timer_id;
    {
      MutexLock lock(mutex_);
      if (ended_ || !early_end_.ok()) return;
      asking_ = held_ = true;
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
        },
        [self = shared_from_this()] { self->LetPixelsGo(); });
  }

  // No member holds any more. Without an answer yet the ticket is left to Finish.
  void LetPixelsGo() {
    std::unique_ptr<Admission::Ticket> ticket;  // destroyed without the lock
    MutexLock lock(mutex_);
    held_ = false;
    if (answered_) ticket = std::move(ticket_);
  }

  static absl::Status TooLate() {
    return absl::UnavailableError(
        "no time was left to ask the members once the pictures were decoded: allow more, or send "
        "fewer");
  }

  void Finish(absl::StatusOr<Prediction> prediction) {
    DeadlineTimer::Id timer_id;
    {
      MutexLock lock(mutex_);
      if (std::exchange(ended_, true)) return;
      // Pictures that still wait to be decoded hold this call, but not its pixels.
      if (!asking_) room_.clear();
      timer_id = timer_id_;
    }
    timer_.Cancel(timer_id);
    done_(std::move(prediction));
    // The ticket goes after the answer: an aggregator that drains waits for the answer, too. Its
    // bytes are held as long as members that hang hold pixels.
    std::unique_ptr<Admission::Ticket> ticket;  // destroyed without the lock
    MutexLock lock(mutex_);
    answered_ = true;
    if (held_) return ticket_->Answered();
    ticket = std::move(ticket_);
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
  absl::Status early_end_ ABSL_GUARDED_BY(mutex_);  // not OK: nothing more begins
  bool asking_ ABSL_GUARDED_BY(mutex_) = false;     // members have been asked
  bool held_ ABSL_GUARDED_BY(mutex_) = false;       // members may hold pixels
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;  // `done_` has returned
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
  const int64_t bytes = BytesNeeded(request, plan);
  auto ticket = admission_.Enter(request.pictures.count, bytes);
  if (!ticket.ok()) return done(ticket.status());
  const uint64_t number = next_number_++;
  auto remembered = [this, number, done = std::move(done)](auto prediction) {
    Forget(number);
    done(std::move(prediction));
  };
  const auto call =
      std::make_shared<PredictionCall>(std::move(request), *std::move(ticket), std::move(plan),
                                       limits_.picture, timer_, metrics_, std::move(remembered));
  const bool too_late = !Remember(number, [weak = std::weak_ptr(call)] {
    if (const auto living = weak.lock()) living->CutOff();
  });
  call->Start(decoding_);
  if (too_late) call->CutOff();
}

void PredictionEngine::CutOff() {
  std::map<uint64_t, std::function<void()>> under_way;
  {
    MutexLock lock(mutex_);
    cut_off_ = true;
    under_way.swap(under_way_);
  }
  for (const auto& [number, cut_off] : under_way) cut_off();
}

bool PredictionEngine::Remember(uint64_t number, std::function<void()> cut_off) {
  MutexLock lock(mutex_);
  under_way_[number] = std::move(cut_off);
  return !cut_off_;
}

void PredictionEngine::Forget(uint64_t number) {
  MutexLock lock(mutex_);
  under_way_.erase(number);
}

}  // namespace atelier::aggregator
