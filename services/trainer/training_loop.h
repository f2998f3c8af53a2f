// The training loop of one task: batches in, applied steps, checkpoints out. Torch header.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/base/clock.h"
#include "common/nn/scaling.h"
#include "services/data/client.h"
#include "services/trainer/checkpoint_writer.h"
#include "services/trainer/loss.h"
#include "services/trainer/progress_board.h"
#include "services/trainer/stop_signal.h"
#include "services/trainer/training_state.h"

namespace atelier::trainer {

struct LoopOptions {
  v1::NumericEnvironment environment;  // precision decides the compute type
  at::Device device = at::kCPU;
  std::chrono::milliseconds checkpoint_interval{60'000};
};

enum class LoopEnd { kFinished, kStoppedEarly, kDrained, kAbandoned };

// Runs on the calling thread until the stage's last epoch, EarlyStopping or the stop signal.
class TrainingLoop {
 public:
  // Everything passed must outlive it.
  TrainingLoop(const v1::Assignment& assignment, const LoopOptions& options, TrainingState& state,
               data::BatchSource& source, CheckpointWriter& writer, ProgressBoard& board,
               StopSignal& stop, const Clock& clock);

  // On kDrained a last checkpoint was committed. Errors: the data's (DataLoss: labels of another
  // number of classes), the writer's, or InvalidArgument when the loss is no number at some step,
  // or val_loss at every epoch.
  absl::StatusOr<LoopEnd> Run();

  // Steps applied since the last checkpoint that was started.
  const std::vector<v1::AppliedStep>& unsaved() const { return applied_; }

 private:
  absl::StatusOr<LoopEnd> RunEpochs();
  absl::StatusOr<LoopEnd> RunEpoch();
  absl::Status TrainOn(const v1::Batch& batch);
  absl::StatusOr<bool> FinishEpoch(double seconds);  // true: stop early
  bool SaveIsDue();
  absl::Status Save(bool is_best);
  void ReportPosition();

  const v1::Assignment& assignment_;
  const LoopOptions options_;
  TrainingState& state_;
  data::BatchSource& source_;
  CheckpointWriter& writer_;
  ProgressBoard& board_;
  StopSignal& stop_;
  const Clock& clock_;
  const at::ScalarType compute_;
  const LossOptions loss_;
  nn::PixelScaling scaling_;
  at::Generator generator_;
  std::vector<v1::AppliedStep> applied_;
  size_t applied_bytes_ = 0;
  std::chrono::steady_clock::time_point last_save_;
  std::chrono::steady_clock::time_point rate_since_;
  int64_t rate_images_ = 0;
  double images_per_second_ = 0;
  int steps_in_epoch_ = 0;
};

}  // namespace atelier::trainer
