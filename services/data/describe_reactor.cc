#include "services/data/describe_reactor.h"

#include <utility>

#include "common/rpc/status.h"

namespace atelier::data {
namespace {

constexpr std::chrono::seconds kProgressInterval{1};

}  // namespace

void DescribeReactor::Progress(int done, int total) {
  MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (!parts_.empty() || (done < total && now - last_progress_ < kProgressInterval)) return;
  last_progress_ = now;
  v1::DescribeProgress& progress = *parts_.emplace_back().mutable_progress();
  progress.set_files_done(done);
  progress.set_files_total(total);
  Advance();
}

void DescribeReactor::Send(v1::DescribeDatasetResponse part) {
  MutexLock lock(mutex_);
  parts_.push_back(std::move(part));
  Advance();
}

void DescribeReactor::End(const absl::Status& status) {
  MutexLock lock(mutex_);
  ended_ = true;
  status_ = status;
  Advance();
}

void DescribeReactor::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  parts_.pop_front();
  if (!ok) parts_.clear();  // the client left; End closes
  Advance();
}

void DescribeReactor::Advance() {
  if (writing_ || finished_) return;
  if (!parts_.empty()) {
    writing_ = true;
    StartWrite(&parts_.front());
  } else if (ended_) {
    finished_ = true;
    Finish(rpc::ToGrpcStatus(status_));
  }
}

}  // namespace atelier::data
