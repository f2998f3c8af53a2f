// Everything that changes while a task trains, as one thing that can be saved and restored. Torch
// header.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/nn/member_model.h"
#include "services/trainer/adam.h"
#include "services/trainer/checkpoint_file.h"

namespace atelier::trainer {

// Owned by the training thread.
struct TrainingState {
  std::shared_ptr<nn::MemberModel> model;
  std::unique_ptr<Adam> optimizer;
  v1::CallbackState callbacks;
  v1::DataCursor cursor;  // the next batch
  std::vector<v1::EpochMetrics> history;
  // Sums over the unfinished epoch, weighted by batch size as Keras averages.
  double loss_sum = 0;
  double correct = 0;
  int64_t images = 0;
  std::string ledger_digest;        // of the unfinished epoch's steps, too
  std::string best_weights_digest;  // once it is known (the writer uploads in the background)
  // What differed at any resume so far (P3).
  std::vector<std::string> resumed_inexact;

  // A state at the stage's beginning; the model and the optimizer's moments are on `device`.
  static absl::StatusOr<TrainingState> Fresh(const v1::Assignment& assignment,
                                             const at::Device& device = at::kCPU);
  // Tensors are cloned: the copy stays as it is while training goes on.
  Checkpoint Snapshot(const v1::Assignment& assignment,
                      const v1::NumericEnvironment& environment) const;
  // DataLoss when the checkpoint is not one of this task.
  absl::Status Restore(const v1::Assignment& assignment, const Checkpoint& checkpoint);
};

// The ledger's running digest at an epoch's beginning, and after one more applied step.
std::string EmptyLedger();
std::string ExtendLedger(const std::string& digest, int step, const std::string& batch_digest);

}  // namespace atelier::trainer
