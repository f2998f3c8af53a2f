#include "services/trainer/task_runner.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/ensemble/npy.h"
#include "common/nn/caching_allocator.h"
#include "common/nn/predictor.h"
#include "common/nn/runtime.h"
#include "common/nn/tensor_io.h"
#include "common/nn/torch_errors.h"
#include "services/trainer/environment.h"
#include "services/trainer/evaluation.h"
#include "services/trainer/request_id.h"
#include "services/trainer/training_loop.h"

namespace atelier::trainer {
namespace {

bool Retryable(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

absl::Status LoadStart(const v1::Assignment& assignment, coordinator::RegistryClient& registry,
                       TrainingState& state, v1::NumericEnvironment& stored) {
  if (!assignment.checkpoint_digest().empty()) {
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes,
                             registry.GetBytes(assignment.checkpoint_digest()));
    ATELIER_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ParseCheckpoint(bytes));
    stored = checkpoint.manifest.environment();
    return state.Restore(assignment, checkpoint);
  }
  if (assignment.initial_weights_digest().empty()) return absl::OkStatus();
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes,
                           registry.GetBytes(assignment.initial_weights_digest()));
  ATELIER_ASSIGN_OR_RETURN(const auto tensors, nn::LoadTensorsFromSafetensors(bytes));
  nn::LoadOptions options;
  options.allow_missing_head = !assignment.initial_weights_have_head();
  return Annotate(state.model->LoadTensors(tensors, options), "initial weights");
}

// P3: what differs at this resume joins what differed at earlier ones, in every checkpoint from now
// on and in the result.
void NoteDifferences(const std::vector<std::string>& fields, TrainingState& state,
                     ProgressBoard& board) {
  if (fields.empty()) return;
  board.AddLogLine(absl::StrCat("RESUMED_INEXACT: ", absl::StrJoin(fields, ", "),
                                " differ from the checkpoint's"));
  std::vector<std::string>& all = state.resumed_inexact;
  for (const std::string& field : fields) {
    if (std::find(all.begin(), all.end(), field) == all.end()) all.push_back(field);
  }
}

}  // namespace

struct TaskRunner::Outcome {
  LoopEnd end = LoopEnd::kAbandoned;
  v1::DataCursor cursor;
  v1::TaskResult result;
  std::vector<v1::AppliedStep> unsaved;
};

absl::Status TaskRunner::Train(const v1::Assignment& assignment, ProgressBoard& board,
                               StopSignal& stop, Outcome& outcome) {
  board.SetPhase("loading");
  const bool first = !assignment.has_environment();
  v1::NumericEnvironment environment;
  if (first) {
    ATELIER_ASSIGN_OR_RETURN(environment,
                             ChooseEnvironment(assignment, options_.device, options_.threads));
  } else {
    nn::SetThreads(assignment.environment().threads());
    environment = ThisEnvironment(assignment.environment(), options_.device);
  }
  nn::SetDeterministic(assignment.plan().deterministic());
  const at::Device device(options_.device);
  ATELIER_ASSIGN_OR_RETURN(TrainingState state, TrainingState::Fresh(assignment, device));
  v1::NumericEnvironment stored = environment;
  ATELIER_RETURN_IF_ERROR(LoadStart(assignment, registry_, state, stored));
  NoteDifferences(Differences(stored, environment), state, board);
  outcome.result.set_resumed_inexact(absl::StrJoin(state.resumed_inexact, ", "));

  LoopOptions loop_options;
  loop_options.environment = environment;
  loop_options.device = device;
  loop_options.checkpoint_interval =
      options_.checkpoint_interval.count() > 0
          ? options_.checkpoint_interval
          : std::chrono::milliseconds(std::chrono::seconds(assignment.checkpoint_seconds()));
  std::vector<std::string> addresses(assignment.data_addresses().begin(),
                                     assignment.data_addresses().end());
  const auto source = sources_(addresses);
  CheckpointWriter writer(fleet_, registry_, assignment.lease(), state.best_weights_digest, stop,
                          options_.full_disk_pause);
  TrainingLoop loop(assignment, loop_options, state, *source, writer, board, stop, clock_);
  auto end = loop.Run();
  outcome.cursor = state.cursor;
  outcome.unsaved = loop.unsaved();
  const absl::Status flushed = writer.Flush();
  ATELIER_RETURN_IF_ERROR(end);
  outcome.end = *end;
  if (outcome.end == LoopEnd::kAbandoned || outcome.end == LoopEnd::kDrained) return flushed;
  ATELIER_RETURN_IF_ERROR(flushed);

  board.SetPhase("uploading");
  outcome.result.set_weights_digest(writer.best_weights_digest());
  outcome.result.set_stopped_early(outcome.end == LoopEnd::kStoppedEarly);
  *outcome.result.mutable_history() = {state.history.begin(), state.history.end()};
  ATELIER_ASSIGN_OR_RETURN(*outcome.result.mutable_final_weights_digest(),
                           Upload(nn::SaveTensorsToSafetensors(state.model->NamedTensors()), stop));
  const int best = state.callbacks.best_epoch();
  if (best >= 0 && static_cast<size_t>(best) < state.history.size()) {
    outcome.result.set_validation_loss(state.history[static_cast<size_t>(best)].val_loss());
  }
  return Score(assignment, *source, board, stop, outcome);
}

absl::StatusOr<std::string> TaskRunner::Upload(const std::string& bytes, const StopSignal& stop) {
  std::string digest;
  ATELIER_RETURN_IF_ERROR(
      Patience(stop, options_.full_disk_pause).Insist("upload", [&]() -> absl::Status {
        ATELIER_ASSIGN_OR_RETURN(digest, registry_.PutBytes(bytes));
        return absl::OkStatus();
      }));
  return digest;
}

absl::Status TaskRunner::Score(const v1::Assignment& assignment, data::BatchSource& source,
                               ProgressBoard& board, StopSignal& stop, Outcome& outcome) {
  board.SetPhase("scoring");
  v1::TaskResult& result = outcome.result;
  ATELIER_ASSIGN_OR_RETURN(const std::string weights, registry_.GetBytes(result.weights_digest()));
  nn::PredictorOptions options;
  options.device = options_.device;
  ATELIER_ASSIGN_OR_RETURN(const auto predictor,
                           nn::Predictor::Create(assignment.model(), weights, options));
  const auto predict = [&](const v1::DataPlan& plan) {
    ReadAhead batches(source.Open(plan, 0, 0));
    const StopSignal::Interruption interruption(stop, [&batches] { batches.Cancel(); });
    return PredictAll(*predictor, batches);
  };
  if (assignment.validation().subset() != v1::SUBSET_UNSPECIFIED) {
    ATELIER_ASSIGN_OR_RETURN(const Predictions scored, predict(assignment.validation()));
    ATELIER_ASSIGN_OR_RETURN(*result.mutable_validation_probabilities_digest(),
                             Upload(ensemble::ToNpy(scored.probabilities), stop));
    ATELIER_ASSIGN_OR_RETURN(*result.mutable_validation_labels_digest(),
                             Upload(ensemble::ToNpy(scored.labels), stop));
    int correct = 0;
    for (int i = 0; i < scored.probabilities.rows; ++i) {
      correct +=
          ensemble::ArgMax(scored.probabilities.row(i)) == scored.labels[static_cast<size_t>(i)]
              ? 1
              : 0;
    }
    result.set_validation_accuracy(static_cast<double>(correct) /
                                   std::max(1, scored.probabilities.rows));
  }
  if (assignment.test().subset() != v1::SUBSET_UNSPECIFIED) {
    ATELIER_ASSIGN_OR_RETURN(const Predictions scored, predict(assignment.test()));
    ATELIER_ASSIGN_OR_RETURN(*result.mutable_test_probabilities_digest(),
                             Upload(ensemble::ToNpy(scored.probabilities), stop));
  }
  return absl::OkStatus();
}

void TaskRunner::Report(const v1::Assignment& assignment, const absl::Status& status,
                        ProgressBoard& board, StopSignal& stop, Outcome& outcome) {
  if (stop.reason() == StopReason::kAbandon || absl::IsAborted(status))
    return;  // fenced: not ours any more
  board.Flush();
  v1::FinishTaskRequest request;
  *request.mutable_lease() = assignment.lease();
  *request.mutable_cursor() = outcome.cursor;
  const bool interrupted = stop.stopped() && (absl::IsCancelled(status) || status.ok());
  if (status.ok() && outcome.end != LoopEnd::kDrained) {
    request.set_end(v1::FinishTaskRequest::DONE);
    *request.mutable_result() = outcome.result;
    *request.mutable_applied() = {outcome.unsaved.begin(), outcome.unsaved.end()};
  } else if (interrupted) {
    request.set_end(v1::FinishTaskRequest::RELEASED);
  } else {
    request.set_end(v1::FinishTaskRequest::FAILED);
    request.set_error(std::string(status.message()));
    request.set_retryable(Retryable(status));
    LogError("%s/%s failed: %s", assignment.lease().member(), assignment.lease().stage(),
             status.ToString());
  }
  // The same request id for every try: a lost answer is no second effect.
  request.set_request_id(RequestIdOf(request));
  const absl::Status reported =
      Patience(stop, options_.full_disk_pause).Insist("end of the task", [&] {
        return fleet_.FinishTask(request);
      });
  if (!reported.ok()) LogWarning("reporting the end of the task: %s", reported.ToString());
}

void TaskRunner::Run(const v1::Assignment& assignment, ProgressBoard& board, StopSignal& stop) {
  Outcome outcome;
  const absl::Status status = nn::CatchTorchErrors(
      "carry out the task", [&] { return Train(assignment, board, stop, outcome); });
  nn::ReleaseCachedMemory();
  Report(assignment, status, board, stop, outcome);
}

}  // namespace atelier::trainer
