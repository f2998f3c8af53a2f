#include "services/trainer/training_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "services/trainer/schedule.h"

namespace atelier::trainer {

std::string EmptyLedger() { return Sha256Hex(""); }

std::string ExtendLedger(const std::string& digest, int step, const std::string& batch_digest) {
  return Sha256Hex(absl::StrCat(digest, "/", step, "/", batch_digest));
}

absl::StatusOr<TrainingState> TrainingState::Fresh(const v1::Assignment& assignment,
                                                   const at::Device& device) {
  TrainingState state;
  ATELIER_ASSIGN_OR_RETURN(state.model,
                           nn::MemberModel::Create(assignment.model(), assignment.member_seed()));
  // Before the optimizer: its moments are made where the parameters are.
  state.model->to(device);
  state.optimizer =
      std::make_unique<Adam>(state.model->TrainableParameters(), assignment.stage().optimizer());
  state.callbacks = InitialCallbacks(assignment.stage());
  state.ledger_digest = EmptyLedger();
  return state;
}

Checkpoint TrainingState::Snapshot(const v1::Assignment& assignment,
                                   const v1::NumericEnvironment& environment) const {
  at::NoGradGuard no_grad;
  Checkpoint checkpoint;
  for (const auto& [name, tensor] : model->NamedTensors()) {
    checkpoint.tensors["model/" + name] = tensor.detach().to(at::kCPU, /*non_blocking=*/false,
                                                             /*copy=*/true);
  }
  for (const auto& [name, tensor] : optimizer->State()) {
    checkpoint.tensors[name] = tensor.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  }
  v1::CheckpointManifest& manifest = checkpoint.manifest;
  manifest.set_run_id(assignment.lease().run_id());
  manifest.set_member(assignment.lease().member());
  manifest.set_stage(assignment.lease().stage());
  *manifest.mutable_model() = assignment.model();
  *manifest.mutable_cursor() = cursor;
  manifest.set_optimizer_step(optimizer->steps());
  *manifest.mutable_callbacks() = callbacks;
  *manifest.mutable_history() = {history.begin(), history.end()};
  manifest.set_epoch_loss_sum(loss_sum);
  manifest.set_epoch_correct(correct);
  manifest.set_epoch_images(images);
  manifest.set_best_weights_digest(best_weights_digest);
  *manifest.mutable_environment() = environment;
  manifest.set_epoch_ledger_digest(ledger_digest);
  *manifest.mutable_resumed_inexact() = {resumed_inexact.begin(), resumed_inexact.end()};
  return checkpoint;
}

absl::Status TrainingState::Restore(const v1::Assignment& assignment,
                                    const Checkpoint& checkpoint) {
  const v1::CheckpointManifest& manifest = checkpoint.manifest;
  if (manifest.member() != assignment.lease().member() ||
      manifest.stage() != assignment.lease().stage()) {
    return absl::DataLossError(absl::StrCat("the checkpoint is of ", manifest.member(), "/",
                                            manifest.stage(), ", not of this task"));
  }
  ATELIER_RETURN_IF_ERROR(
      Annotate(model->LoadTensors(WeightsOf(checkpoint)), "the checkpoint's weights"));
  ATELIER_RETURN_IF_ERROR(optimizer->Restore(checkpoint.tensors, manifest.optimizer_step()));
  callbacks = manifest.callbacks();
  cursor = manifest.cursor();
  history.assign(manifest.history().begin(), manifest.history().end());
  loss_sum = manifest.epoch_loss_sum();
  correct = manifest.epoch_correct();
  images = manifest.epoch_images();
  ledger_digest = manifest.epoch_ledger_digest();
  best_weights_digest = manifest.best_weights_digest();
  resumed_inexact.assign(manifest.resumed_inexact().begin(), manifest.resumed_inexact().end());
  return absl::OkStatus();
}

}  // namespace atelier::trainer
