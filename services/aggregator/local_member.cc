#include "services/aggregator/local_member.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::aggregator {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

absl::Status ShuttingDown() { return absl::UnavailableError("shutting down"); }

class LocalMember final : public Member, public std::enable_shared_from_this<LocalMember> {
 public:
  LocalMember(const v1::EnsembleMember& spec, LocalRuntime& runtime)
      : spec_(spec), runtime_(runtime) {}

  const v1::EnsembleMember& spec() const override { return spec_; }

  void Predict(PixelsPtr pictures, TimePoint deadline, Done done) override {
    const int64_t bytes = static_cast<int64_t>(pictures->bytes.size());
    if (runtime_.waiting_bytes.fetch_add(bytes) + bytes > runtime_.max_waiting_bytes) {
      runtime_.waiting_bytes.fetch_sub(bytes);
      done(absl::UnavailableError(absl::StrCat(spec_.name(), ": too much waits for inference")));
      return;
    }
    Job job{
        std::move(pictures), deadline,
        [&runtime = runtime_, bytes, done = std::move(done)](absl::StatusOr<v1::Matrix> answer) {
          runtime.waiting_bytes.fetch_sub(bytes);
          done(std::move(answer));
        }};
    std::shared_ptr<nn::Predictor> predictor;
    bool load = false;
    {
      MutexLock lock(mutex_);
      predictor = predictor_;
      if (predictor == nullptr) {
        waiting_.push_back(std::move(job));
        load = !std::exchange(loading_, true);
      }
    }
    // Its pixels count as the request's until then: a load of minutes must not hold them.
    if (predictor == nullptr) {
      runtime_.timer.Schedule(deadline, [weak = weak_from_this()] {
        if (const auto self = weak.lock(); self != nullptr) self->DropExpired();
      });
    }
    if (predictor != nullptr) {
      // `job` has not been moved above.
      Enqueue(std::move(predictor), std::move(job));  // NOLINT(bugprone-use-after-move)
    } else if (load && !runtime_.loading.Submit([self = shared_from_this()] { self->Load(); })) {
      EndLoading(ShuttingDown());
    }
  }

 private:
  struct Job {
    PixelsPtr pictures;
    TimePoint deadline;
    Done done;
  };

  void DropExpired() {
    std::vector<Job> expired;
    {
      MutexLock lock(mutex_);
      const TimePoint now = std::chrono::steady_clock::now();
      const auto first = std::stable_partition(
          waiting_.begin(), waiting_.end(), [now](const Job& job) { return job.deadline > now; });
      expired.assign(std::make_move_iterator(first), std::make_move_iterator(waiting_.end()));
      waiting_.erase(first, waiting_.end());
    }
    for (Job& job : expired) {
      job.done(absl::DeadlineExceededError(
          absl::StrCat(spec_.name(), ": it was not loaded before the deadline")));
    }
  }

  void Load() {
    EndLoading([&]() -> absl::StatusOr<std::shared_ptr<nn::Predictor>> {
      if (runtime_.stopping) return ShuttingDown();
      ATELIER_ASSIGN_OR_RETURN(const std::string weights, runtime_.weights(spec_.weights_digest()));
      ATELIER_ASSIGN_OR_RETURN(std::unique_ptr<nn::Predictor> predictor,
                               runtime_.create(spec_.model(), weights));
      return std::shared_ptr<nn::Predictor>(std::move(predictor));
    }());
  }

  void EndLoading(absl::StatusOr<std::shared_ptr<nn::Predictor>> loaded) {
    std::vector<Job> waiting;
    {
      MutexLock lock(mutex_);
      loading_ = false;
      waiting.swap(waiting_);
      if (loaded.ok()) predictor_ = *loaded;
    }
    for (Job& job : waiting) {
      if (loaded.ok()) {
        Enqueue(*loaded, std::move(job));
      } else {
        job.done(Annotate(loaded.status(), absl::StrCat("loading ", spec_.name())));
      }
    }
  }

  void Enqueue(std::shared_ptr<nn::Predictor> predictor, Job job) {
    auto shared = std::make_shared<Job>(std::move(job));
    const bool accepted = runtime_.inference.Submit(
        [self = shared_from_this(), predictor = std::move(predictor), shared] {
          if (self->runtime_.stopping) return shared->done(ShuttingDown());
          if (std::chrono::steady_clock::now() >= shared->deadline) {
            shared->done(absl::DeadlineExceededError(
                absl::StrCat(self->spec_.name(), ": no forward was free before the deadline")));
            return;
          }
          shared->done(predictor->Predict(shared->pictures->bytes, shared->pictures->count));
        });
    if (!accepted) shared->done(ShuttingDown());
  }

  const v1::EnsembleMember spec_;
  LocalRuntime& runtime_;
  Mutex mutex_;
  std::shared_ptr<nn::Predictor> predictor_ ABSL_GUARDED_BY(mutex_);
  bool loading_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Job> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<Member> MakeLocalMember(const v1::EnsembleMember& spec, LocalRuntime& runtime) {
  return std::make_shared<LocalMember>(spec, runtime);
}

}  // namespace atelier::aggregator
