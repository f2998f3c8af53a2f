#include "services/trainer/checkpoint_writer.h"

#include <utility>

#include "common/base/status.h"
#include "common/nn/tensor_io.h"
#include "common/nn/torch_errors.h"
#include "services/trainer/request_id.h"

namespace atelier::trainer {

CheckpointWriter::CheckpointWriter(coordinator::FleetClient& fleet,
                                   coordinator::RegistryClient& registry, v1::Lease lease,
                                   std::string best_weights_digest, const StopSignal& stop,
                                   std::chrono::milliseconds full_disk_pause)
    : fleet_(fleet),
      registry_(registry),
      lease_(std::move(lease)),
      patience_(stop, full_disk_pause),
      best_(std::move(best_weights_digest)) {
  thread_ = std::thread([this] { Run(); });
}

CheckpointWriter::~CheckpointWriter() {
  patience_.Close();
  {
    MutexLock lock(mutex_);
    closing_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

bool CheckpointWriter::busy() {
  MutexLock lock(mutex_);
  return writing_ || job_.has_value();
}

absl::Status CheckpointWriter::Start(CheckpointJob job) {
  MutexLock lock(mutex_);
  changed_.Wait(mutex_,
                [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !writing_ && !job_.has_value(); });
  if (!status_.ok()) return status_;
  job_ = std::move(job);
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Status CheckpointWriter::Flush() {
  MutexLock lock(mutex_);
  changed_.Wait(mutex_,
                [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !writing_ && !job_.has_value(); });
  return status_;
}

std::string CheckpointWriter::best_weights_digest() {
  MutexLock lock(mutex_);
  return best_;
}

void CheckpointWriter::Run() {
  while (true) {
    CheckpointJob job;
    {
      MutexLock lock(mutex_);
      changed_.Wait(mutex_,
                    [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return job_.has_value() || closing_; });
      if (!job_.has_value()) return;
      job = *std::move(job_);
      job_.reset();
      writing_ = true;
    }
    const absl::Status written =
        nn::CatchTorchErrors("write a checkpoint", [&] { return Write(job); });
    MutexLock lock(mutex_);
    writing_ = false;
    if (!written.ok()) status_ = written;
    changed_.NotifyAll();
  }
}

absl::Status CheckpointWriter::Write(CheckpointJob& job) {
  std::string best = best_weights_digest();
  if (job.is_best) {
    const std::string bytes = nn::SaveTensorsToSafetensors(WeightsOf(job.checkpoint));
    ATELIER_RETURN_IF_ERROR(patience_.Insist("best weights", [&]() -> absl::Status {
      ATELIER_ASSIGN_OR_RETURN(best, registry_.PutBytes(bytes));
      return absl::OkStatus();
    }));
  }
  job.checkpoint.manifest.set_best_weights_digest(best);
  const std::string bytes = SerializeCheckpoint(job.checkpoint);
  const v1::DataCursor cursor = job.checkpoint.manifest.cursor();
  const v1::NumericEnvironment environment = job.checkpoint.manifest.environment();
  job.checkpoint.tensors.clear();
  v1::CommitCheckpointRequest request;
  *request.mutable_lease() = lease_;
  *request.mutable_cursor() = cursor;
  *request.mutable_environment() = environment;
  *request.mutable_applied() = {job.applied.begin(), job.applied.end()};
  request.set_best_weights_digest(best);
  ATELIER_RETURN_IF_ERROR(patience_.Insist("checkpoint", [&]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*request.mutable_digest(), registry_.PutBytes(bytes));
    return absl::OkStatus();
  }));
  // The client gives a request its id: kept here, so that a retry after a lost answer is the same.
  request.set_request_id(RequestIdOf(request));
  ATELIER_RETURN_IF_ERROR(
      patience_.Insist("checkpoint", [&] { return fleet_.CommitCheckpoint(request); }));
  MutexLock lock(mutex_);
  best_ = best;
  return absl::OkStatus();
}

}  // namespace atelier::trainer
