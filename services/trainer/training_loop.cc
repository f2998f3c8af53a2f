#include "services/trainer/training_loop.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/philox.h"
#include "common/base/status.h"
#include "services/trainer/epoch_log.h"
#include "services/trainer/evaluation.h"
#include "services/trainer/loss.h"
#include "services/trainer/read_ahead.h"
#include "services/trainer/schedule.h"
#include "services/trainer/step_tensors.h"

namespace atelier::trainer {
namespace {

constexpr double kRateWindowSeconds = 5;
// The ledger travels with its checkpoint, in a message of at most 4 MiB: it is saved before it has
// outgrown one, however long the interval is.
constexpr size_t kMaxLedgerBytes = 2 << 20;

at::Generator MakeGenerator(const at::Device& device) {
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  return at::globalContext().defaultGenerator(device).clone();
}

// The seed of one step's dropout: nothing to save for a resume.
uint64_t StepSeed(uint64_t member_seed, int64_t step) {
  CounterRng rng(member_seed, static_cast<uint32_t>(step >> 32), static_cast<uint32_t>(step),
                 RandomOp::kDropout);
  return (uint64_t{rng.NextUint32()} << 32) | rng.NextUint32();
}

absl::Status NoNumber(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, "; lower stages[].optimizer.learning_rate, or use precision: float32"));
}

LossOptions LossOf(const v1::Assignment& assignment) {
  LossOptions options;
  options.class_weights.assign(assignment.class_weights().begin(),
                               assignment.class_weights().end());
  options.label_smoothing = static_cast<double>(assignment.stage().label_smoothing());
  return options;
}

}  // namespace

TrainingLoop::TrainingLoop(const v1::Assignment& assignment, const LoopOptions& options,
                           TrainingState& state, data::BatchSource& source,
                           CheckpointWriter& writer, ProgressBoard& board, StopSignal& stop,
                           const Clock& clock)
    : assignment_(assignment),
      options_(options),
      state_(state),
      source_(source),
      writer_(writer),
      board_(board),
      stop_(stop),
      clock_(clock),
      compute_(options.environment.precision() == v1::BFLOAT16 ? at::kBFloat16 : at::kFloat),
      loss_(LossOf(assignment)),
      generator_(MakeGenerator(options.device)),
      last_save_(clock.Now()),
      rate_since_(clock.Now()) {}

void TrainingLoop::ReportPosition() {
  const double n = static_cast<double>(std::max<int64_t>(1, state_.images));
  board_.SetPosition(state_.cursor, steps_in_epoch_, state_.loss_sum / n, state_.correct / n,
                     images_per_second_);
}

absl::Status TrainingLoop::TrainOn(const v1::Batch& batch) {
  ATELIER_RETURN_IF_ERROR(CheckLabels(batch, state_.model->spec().classes()));
  const v1::StageSpec& stage = assignment_.stage();
  steps_in_epoch_ = batch.steps_in_epoch();
  const int64_t total = int64_t{stage.epochs()} * steps_in_epoch_;
  const int64_t step = state_.optimizer->steps();
  generator_.set_current_seed(StepSeed(assignment_.member_seed(), step));

  const StepTensors tensors = ToTensors(batch, scaling_, options_.device);
  nn::ForwardOptions forward;
  forward.training = true;
  forward.compute = compute_;
  forward.generator = &generator_;
  const at::Tensor logits = state_.model->Logits(tensors.pixels, forward);
  at::Tensor loss = SoftCrossEntropy(logits, tensors.labels, loss_);
  const at::Tensor penalty = state_.model->L2Penalty();
  if (penalty.defined()) loss = loss + penalty;
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    return NoNumber(
        absl::StrCat("the loss is no number at epoch ", batch.epoch(), " step ", batch.step()));
  }
  loss.backward();
  state_.optimizer->Step(LearningRate(stage, state_.callbacks, step, total));

  state_.loss_sum += value * batch.size();
  state_.correct += static_cast<double>(CountCorrect(logits.detach(), tensors.labels));
  state_.images += batch.size();
  state_.ledger_digest = ExtendLedger(state_.ledger_digest, batch.step(), batch.digest());
  state_.cursor.set_step(batch.step() + 1);
  v1::AppliedStep& applied = applied_.emplace_back();
  applied.set_epoch(batch.epoch());
  applied.set_step(batch.step());
  *applied.mutable_sample_ids() = batch.sample_ids();
  applied.set_batch_digest(batch.digest());
  applied_bytes_ += applied.ByteSizeLong();

  rate_images_ += batch.size();
  const std::chrono::duration<double> since = clock_.Now() - rate_since_;
  if (since.count() > 0) images_per_second_ = static_cast<double>(rate_images_) / since.count();
  if (since.count() > kRateWindowSeconds) {
    rate_since_ = clock_.Now();
    rate_images_ = 0;
  }
  ReportPosition();
  return absl::OkStatus();
}

bool TrainingLoop::SaveIsDue() {
  if (state_.cursor.step() >= steps_in_epoch_) return false;  // the epoch's end saves
  if (applied_bytes_ > kMaxLedgerBytes) return true;
  return clock_.Now() - last_save_ >= options_.checkpoint_interval && !writer_.busy();
}

absl::Status TrainingLoop::Save(bool is_best) {
  CheckpointJob job;
  job.checkpoint = state_.Snapshot(assignment_, options_.environment);
  job.applied = std::move(applied_);
  job.is_best = is_best;
  applied_.clear();
  applied_bytes_ = 0;
  last_save_ = clock_.Now();
  return writer_.Start(std::move(job));
}

absl::StatusOr<bool> TrainingLoop::FinishEpoch(double seconds) {
  const int epoch = state_.cursor.epoch();
  const double n = static_cast<double>(std::max<int64_t>(1, state_.images));
  v1::EpochMetrics metrics;
  metrics.set_epoch(epoch);
  metrics.set_loss(state_.loss_sum / n);
  metrics.set_accuracy(state_.correct / n);
  metrics.set_images(state_.images);
  metrics.set_seconds(seconds);
  // The cursor stands behind the last step, also when the resume found no step left to train on.
  metrics.set_learning_rate(LearningRate(
      assignment_.stage(), state_.callbacks, std::max<int64_t>(0, state_.optimizer->steps() - 1),
      int64_t{assignment_.stage().epochs()} * state_.cursor.step()));
  metrics.set_val_loss(std::numeric_limits<double>::quiet_NaN());
  metrics.set_val_accuracy(std::numeric_limits<double>::quiet_NaN());
  EpochDecision decision;
  if (assignment_.validation().subset() != v1::SUBSET_UNSPECIFIED) {
    board_.SetPhase("validating");
    ReadAhead batches(source_.Open(assignment_.validation(), 0, 0));
    const StopSignal::Interruption interruption(stop_, [&batches] { batches.Cancel(); });
    // In float32 whatever the training computes in: the best weights are chosen by what will be
    // served.
    const auto score = Validate(*state_.model, batches, at::kFloat, options_.device);
    ATELIER_RETURN_IF_ERROR(score);
    metrics.set_val_loss(score->loss);
    metrics.set_val_accuracy(score->accuracy);
    decision = OnEpochEnd(assignment_.stage(), epoch, score->loss, state_.callbacks);
    board_.SetPhase("training");
  } else {
    decision.improved = true;  // nothing to compare by: the last weights are kept
    state_.callbacks.set_best_epoch(epoch);
  }
  state_.history.push_back(metrics);
  board_.AddLogLine(EpochEnds(epoch, clock_.WallNow(), assignment_.time_zone(), metrics.accuracy(),
                              metrics.val_accuracy()));
  board_.AddEpoch(metrics);
  state_.cursor.set_epoch(epoch + 1);
  state_.cursor.set_step(0);
  state_.loss_sum = 0;
  state_.correct = 0;
  state_.images = 0;
  state_.ledger_digest = EmptyLedger();
  ATELIER_RETURN_IF_ERROR(Save(decision.improved));
  return decision.stop;
}

absl::StatusOr<LoopEnd> TrainingLoop::RunEpoch() {
  const int epoch = state_.cursor.epoch();
  const auto begun = clock_.Now();
  if (state_.cursor.step() == 0) {
    board_.AddLogLine(EpochBegins(epoch, clock_.WallNow(), assignment_.time_zone()));
  }
  {
    ReadAhead batches(source_.Open(assignment_.training(), epoch, state_.cursor.step()));
    const StopSignal::Interruption interruption(stop_, [&batches] { batches.Cancel(); });
    while (true) {
      const auto batch = batches.Next();
      if (stop_.stopped()) {
        if (stop_.reason() == StopReason::kAbandon) return LoopEnd::kAbandoned;
        ATELIER_RETURN_IF_ERROR(Save(/*is_best=*/false));
        ATELIER_RETURN_IF_ERROR(writer_.Flush());
        return LoopEnd::kDrained;
      }
      ATELIER_RETURN_IF_ERROR(batch);
      if (!batch->has_value()) break;
      ATELIER_RETURN_IF_ERROR(TrainOn(**batch));
      if (SaveIsDue()) ATELIER_RETURN_IF_ERROR(Save(/*is_best=*/false));
    }
  }
  const std::chrono::duration<double> seconds = clock_.Now() - begun;
  const auto stop_early = FinishEpoch(seconds.count());
  if (!stop_early.ok()) {
    // A validation pass that was interrupted is not an error: the epoch's end is done again.
    if (stop_.reason() == StopReason::kAbandon) return LoopEnd::kAbandoned;
    if (stop_.reason() == StopReason::kDrain && absl::IsCancelled(stop_early.status())) {
      ATELIER_RETURN_IF_ERROR(Save(/*is_best=*/false));
      ATELIER_RETURN_IF_ERROR(writer_.Flush());
      return LoopEnd::kDrained;
    }
    return stop_early.status();
  }
  return *stop_early ? LoopEnd::kStoppedEarly : LoopEnd::kFinished;
}

absl::StatusOr<LoopEnd> TrainingLoop::Run() {
  ATELIER_ASSIGN_OR_RETURN(
      scaling_, nn::ScalingOf(assignment_.model().backbone(), assignment_.model().scaling()));
  board_.SetPhase("training");
  ATELIER_ASSIGN_OR_RETURN(const LoopEnd end, RunEpochs());
  const bool trained = end == LoopEnd::kFinished || end == LoopEnd::kStoppedEarly;
  // An epoch without a number may be followed by better ones, as in Keras; without any number no
  // weights are the best.
  if (trained && state_.callbacks.best_epoch() < 0) {
    return NoNumber("val_loss was no number in any epoch");
  }
  return end;
}

absl::StatusOr<LoopEnd> TrainingLoop::RunEpochs() {
  while (state_.cursor.epoch() < assignment_.stage().epochs()) {
    // The last epoch before a resume may have used the patience up.
    const int patience = assignment_.stage().early_stopping_patience();
    if (patience > 0 && state_.callbacks.epochs_since_best() >= patience) {
      return LoopEnd::kStoppedEarly;
    }
    ATELIER_ASSIGN_OR_RETURN(const LoopEnd end, RunEpoch());
    if (end != LoopEnd::kFinished) return end;
  }
  return LoopEnd::kFinished;
}

}  // namespace atelier::trainer
