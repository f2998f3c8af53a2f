#include "services/data/batch_window.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::data {
namespace {

absl::Status Refused() {
  return absl::UnavailableError("the data-service is busy or shutting down; ask another one");
}

// Steps produced ahead of the fastest consumer: enough to hide a slow step, little to throw away.
constexpr int kStepsAhead = 6;

int64_t BytesOf(const SharedBatch& batch) { return static_cast<int64_t>(batch->pixels().size()); }

}  // namespace

void WindowBudget::AddWindow() {
  MutexLock lock(mutex_);
  ++windows_;
}
void WindowBudget::RemoveWindow() {
  MutexLock lock(mutex_);
  --windows_;
}
int64_t WindowBudget::share() const {
  MutexLock lock(mutex_);
  return max_bytes_ / std::max(1, windows_);
}
WindowBudget::Stats WindowBudget::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}
void WindowBudget::CountProduced() {
  MutexLock lock(mutex_);
  ++stats_.produced;
}
void WindowBudget::CountRecomputed() {
  MutexLock lock(mutex_);
  ++stats_.recomputed;
}
void WindowBudget::AddBytes(int64_t bytes) {
  MutexLock lock(mutex_);
  stats_.bytes += bytes;
}

BatchWindow::BatchWindow(std::shared_ptr<const BatchProducer> producer, WorkerPool& workers,
                         WindowBudget& budget)
    : producer_(std::move(producer)), workers_(workers), budget_(budget) {
  budget_.AddWindow();
}

BatchWindow::~BatchWindow() {
  budget_.AddBytes(-counted_);
  budget_.RemoveWindow();
}

void BatchWindow::Request(int step, BatchDone done) {
  SharedBatch ready;
  bool behind = false;
  bool refused = false;
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(step);
    if (found != entries_.end() && found->second.batch != nullptr) {
      ready = found->second.batch;
    } else if (found != entries_.end()) {
      Wait(found->second, std::move(done));
    } else if (step <= fastest_) {
      behind = true;  // was here, and is gone
    } else if (StartProduction(step)) {
      Wait(entries_[step], std::move(done));
    } else {
      refused = true;
    }
    if (step > fastest_ && !refused) {
      fastest_ = step;
      ProduceAhead();
    }
  }
  // `done` was moved only where none of the three holds.
  if (ready != nullptr) {
    done(std::move(ready));  // NOLINT(bugprone-use-after-move)
  } else if (behind) {
    Recompute(step, std::move(done));  // NOLINT(bugprone-use-after-move)
  } else if (refused) {
    done(Refused());  // NOLINT(bugprone-use-after-move)
  }
}

void BatchWindow::Wait(Entry& entry, BatchDone&& done) {
  entry.waiting.push_back(std::move(done));
  entry.self = shared_from_this();
}

void BatchWindow::ProduceAhead() {
  const int64_t share = budget_.share();
  const int last = std::min(fastest_ + kStepsAhead, producer_->steps() - 1);
  int64_t promised = 0;
  for (int step = fastest_ + 1; step <= last; ++step) {
    promised += producer_->batch_bytes();
    if (promised > share) return;
    // What is refused is produced when it is asked for.
    if (!entries_.contains(step) && !StartProduction(step)) return;
  }
}

bool BatchWindow::StartProduction(int step) {
  const bool accepted = workers_.Submit([window = weak_from_this(), step] {
    const std::shared_ptr<BatchWindow> self = window.lock();
    if (self == nullptr) return;  // nobody waits, and nobody will ask
    auto batch = self->producer_->Produce(step);
    self->budget_.CountProduced();
    if (batch.ok()) {
      self->Finish(step, std::make_shared<const v1::Batch>(*std::move(batch)));
    } else {
      self->Finish(step, batch.status());
    }
  });
  if (accepted) entries_[step];
  return accepted;
}

void BatchWindow::Finish(int step, absl::StatusOr<SharedBatch> batch) {
  std::vector<BatchDone> waiting;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[step];
    waiting = std::move(entry.waiting);
    entry.waiting.clear();
    entry.self.reset();  // the worker that calls this holds the window
    if (batch.ok()) {
      entry.batch = *batch;
      bytes_ += BytesOf(entry.batch);
      Trim();
    } else {
      entries_.erase(step);
    }
  }
  for (BatchDone& done : waiting) done(batch);
}

void BatchWindow::ShareChanged() {
  MutexLock lock(mutex_);
  Trim();
}

void BatchWindow::Trim() {
  const int64_t share = budget_.share();
  std::vector<int> held;
  for (const auto& [step, entry] : entries_) {
    if (entry.batch != nullptr) held.push_back(step);
  }
  const auto ahead = std::upper_bound(held.begin(), held.end(), fastest_);
  // What lies ahead of the fastest consumer is what it needs next. It is too much only when the
  // share has shrunk; the farthest is needed last, and made again then.
  std::reverse(ahead, held.end());
  for (auto step = held.begin(); step != held.end() && bytes_ > share; ++step) {
    bytes_ -= BytesOf(entries_[*step].batch);
    entries_.erase(*step);
  }
  budget_.AddBytes(bytes_ - counted_);
  counted_ = bytes_;
}

void BatchWindow::Recompute(int step, BatchDone done) {
  auto self = shared_from_this();
  auto shared_done = std::make_shared<BatchDone>(std::move(done));
  const bool accepted = workers_.Submit([self, step, shared_done] {
    self->budget_.CountRecomputed();
    auto batch = self->producer_->Produce(step);
    if (batch.ok()) {
      (*shared_done)(std::make_shared<const v1::Batch>(*std::move(batch)));
    } else {
      (*shared_done)(batch.status());
    }
  });
  if (!accepted) (*shared_done)(Refused());
}

std::shared_ptr<BatchWindow> WindowRoom::Living(const std::string& key) const {
  const auto found = windows_.find(key);
  return found == windows_.end() ? nullptr : found->second.lock();
}

absl::StatusOr<std::shared_ptr<BatchWindow>> WindowRoom::Open(
    const std::string& plan, int epoch,
    const std::function<absl::StatusOr<std::shared_ptr<BatchProducer>>()>& make) {
  const std::string key = absl::StrCat(plan, "/", epoch);
  {
    MutexLock lock(mutex_);
    if (auto window = Living(key)) return window;
  }
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<BatchProducer> producer, make());
  MutexLock lock(mutex_);
  std::erase_if(windows_, [](const auto& entry) { return entry.second.expired(); });
  if (auto window = Living(key)) return window;
  auto window = std::make_shared<BatchWindow>(std::move(producer), workers_, budget_);
  windows_[key] = window;
  for (const auto& [name, other] : windows_) {
    if (const auto living = other.lock()) living->ShareChanged();
  }
  return window;
}

}  // namespace atelier::data
