#include "services/data/describe_reactor.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <utility>

#include "common/rpc/status.h"
#include "common/vision/guarded.h"

namespace atelier::data {
namespace {

constexpr std::chrono::seconds kProgressInterval{1};
constexpr size_t kManifestPage = 2000;

}  // namespace

DescribeReactor::DescribeReactor(grpc::CallbackServerContext& context,
                                 std::chrono::milliseconds limit)
    : call_(std::make_shared<Call>()) {
  {
    MutexLock lock(call_->mutex);
    call_->context = &context;
  }
  alarm_.Set(std::chrono::system_clock::now() + limit, [call = call_](bool rang) {
    MutexLock lock(call->mutex);
    if (rang && call->context != nullptr) call->context->TryCancel();
  });
}

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

void DescribeReactor::SendManifest(std::shared_ptr<const Dataset> dataset) {
  MutexLock lock(mutex_);
  manifest_ = std::move(dataset);
  Advance();
}

void DescribeReactor::End(const absl::Status& status) {
  MutexLock lock(mutex_);
  ended_ = true;
  status_.Update(status);
  Advance();
}

void DescribeReactor::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  parts_.pop_front();
  if (!ok) {  // the client left; End closes
    parts_.clear();
    manifest_.reset();
  }
  Advance();
}

void DescribeReactor::OnDone() {
  {
    MutexLock lock(call_->mutex);
    call_->context = nullptr;
  }
  {
    // Another thread may still hold the lock under which it finished the stream.
    MutexLock lock(mutex_);
  }
  delete this;
}

void DescribeReactor::Advance() {
  if (writing_ || finished_) return;
  if (parts_.empty()) MakePage();
  if (!parts_.empty()) {
    writing_ = true;
    StartWrite(&parts_.front());
  } else if (ended_) {
    finished_ = true;
    Finish(rpc::ToGrpcStatus(status_));
  }
}

void DescribeReactor::MakePage() {
  if (manifest_ == nullptr) return;
  const std::vector<v1::Sample>& samples = manifest_->samples;
  // In a reaction an exception would end the process.
  const absl::Status made = vision::Guarded("list the files", [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const size_t end = std::min(samples.size(), next_sample_ + kManifestPage);
    if (next_sample_ == end) return absl::OkStatus();
    v1::DescribeDatasetResponse page;
    *page.mutable_manifest()->mutable_samples() = {samples.begin() + next_sample_,
                                                   samples.begin() + end};
    parts_.push_back(std::move(page));
    next_sample_ = end;
    return absl::OkStatus();
  });
  status_.Update(made);
  if (!made.ok() || next_sample_ == samples.size()) manifest_.reset();
}

}  // namespace atelier::data
