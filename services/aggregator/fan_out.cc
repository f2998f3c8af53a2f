#include "services/aggregator/fan_out.h"

#include <atomic>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::aggregator {
namespace {

absl::StatusOr<ensemble::Probabilities> Check(const absl::StatusOr<v1::Matrix>& answer, int rows,
                                              int columns) {
  ATELIER_RETURN_IF_ERROR(answer.status());
  ATELIER_ASSIGN_OR_RETURN(ensemble::Probabilities checked, ensemble::FromMatrix(*answer));
  if (checked.rows != rows || checked.columns != columns) {
    return absl::DataLossError(absl::StrCat("answered [", checked.rows, ", ", checked.columns,
                                            "] instead of [", rows, ", ", columns, "]"));
  }
  for (const float value : checked.values) {
    if (!std::isfinite(value)) return absl::DataLossError("answered a value that is not finite");
  }
  return checked;
}

class FanOutCall : public std::enable_shared_from_this<FanOutCall> {
 public:
  using OnFailure = std::function<void(const Member&, const absl::Status&)>;
  using Done = std::function<void(absl::StatusOr<FanOutResult>)>;

  FanOutCall(FanOutRequest request, DeadlineTimer& timer, OnFailure on_failure, Done done,
             std::function<void()> on_last)
      : request_(std::move(request)),
        timer_(timer),
        on_failure_(std::move(on_failure)),
        done_(std::move(done)),
        on_last_(std::move(on_last)),
        answers_(request_.members.size()),
        missing_(request_.members.size()) {}

  void Start() {
    {
      MutexLock lock(mutex_);
      timer_id_ = timer_.Schedule(request_.answer_by, [self = shared_from_this()] { self->End(); });
    }
    for (size_t i = 0; i < request_.members.size(); ++i) {
      request_.members[i]->Predict(request_.pictures[i], request_.answer_by,
                                   [self = shared_from_this(), i](const auto& answer) {
                                     self->Put(i, answer);
                                     if (--self->missing_ == 0 && self->on_last_) self->on_last_();
                                   });
    }
  }

 private:
  void Put(size_t i, const absl::StatusOr<v1::Matrix>& answer) {
    absl::StatusOr<ensemble::Probabilities> checked =
        Check(answer, request_.pictures[i]->count, request_.members[i]->spec().model().classes());
    bool decided = false;
    {
      MutexLock lock(mutex_);
      if (ended_ || answers_[i].has_value()) return;  // too late
      answers_[i] = std::move(checked);
      int good = 0;
      int missing = 0;
      for (const auto& a : answers_) {
        good += a.has_value() && a->ok();
        missing += !a.has_value();
      }
      decided = missing == 0 || good + missing < request_.min_members;
    }
    if (decided) End();
  }

  void End() {
    FanOutResult result;
    DeadlineTimer::Id timer_id;
    {
      MutexLock lock(mutex_);
      if (std::exchange(ended_, true)) return;
      timer_id = timer_id_;
      const bool at_deadline = std::chrono::steady_clock::now() >= request_.answer_by;
      for (size_t i = 0; i < answers_.size(); ++i) {
        if (answers_[i].has_value() && answers_[i]->ok()) {
          result.used.push_back(static_cast<int>(i));
          result.answers.push_back(**std::move(answers_[i]));
        } else if (answers_[i].has_value()) {
          result.failed.push_back({static_cast<int>(i), answers_[i]->status()});
        } else if (at_deadline) {
          result.failed.push_back(
              {static_cast<int>(i), absl::DeadlineExceededError("no answer before the deadline")});
        }
      }
    }
    timer_.Cancel(timer_id);
    for (const MemberFailure& failure : result.failed) {
      if (on_failure_) {
        on_failure_(*request_.members[static_cast<size_t>(failure.member)], failure.status);
      }
    }
    if (static_cast<int>(result.used.size()) >= request_.min_members) {
      done_(std::move(result));
    } else {
      done_(TooFew(result));
    }
  }

  absl::Status TooFew(const FanOutResult& result) const {
    std::vector<std::string> reasons;
    for (const MemberFailure& failure : result.failed) {
      reasons.push_back(
          absl::StrCat(request_.members[static_cast<size_t>(failure.member)]->spec().name(), ": ",
                       failure.status.message()));
    }
    return absl::UnavailableError(
        absl::StrCat("at least ", request_.min_members, " of ", request_.members.size(),
                     " members must answer; failed: ", absl::StrJoin(reasons, "; ")));
  }

  const FanOutRequest request_;
  DeadlineTimer& timer_;
  const OnFailure on_failure_;
  const Done done_;
  const std::function<void()> on_last_;
  Mutex mutex_;
  std::vector<std::optional<absl::StatusOr<ensemble::Probabilities>>> answers_
      ABSL_GUARDED_BY(mutex_);
  std::atomic<size_t> missing_;  // members whose answer, late or not, is still to come
  DeadlineTimer::Id timer_id_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

void FanOut(FanOutRequest request, DeadlineTimer& timer,
            std::function<void(const Member&, const absl::Status&)> on_failure,
            std::function<void(absl::StatusOr<FanOutResult>)> done, std::function<void()> on_last) {
  std::make_shared<FanOutCall>(std::move(request), timer, std::move(on_failure), std::move(done),
                               std::move(on_last))
      ->Start();
}

}  // namespace atelier::aggregator
