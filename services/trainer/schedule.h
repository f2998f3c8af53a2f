// The learning rate of a step. Pure functions; the state is v1::CallbackState, which checkpoints
// keep.
#pragma once

#include <cstdint>

#include "atelier/v1/checkpoint.pb.h"
#include "atelier/v1/recipe.pb.h"

namespace atelier::trainer {

// State at a stage's beginning.
v1::CallbackState InitialCallbacks(const v1::StageSpec& stage);

// `step` counts from 0 over the whole stage of `total_steps`. Cosine: linear from 0 over
// warmup_steps (step w has (w+1)/warmup of the rate), then min_lr + (lr - min_lr) * (1 + cos(pi *
// progress)) / 2. Else what ReduceLROnPlateau left in the state.
double LearningRate(const v1::StageSpec& stage, const v1::CallbackState& state, int64_t step,
                    int64_t total_steps);

// End of an epoch, in Keras' order of callbacks. EarlyStopping and ModelCheckpoint (monitor
// val_loss, mode min, min_delta 0) and ReduceLROnPlateau (min_delta, cooldown 0: after `patience`
// epochs without an improvement of more than min_delta the rate is multiplied by factor, not below
// min_lr).
struct EpochDecision {
  bool improved = false;  // val_loss is the best so far: keep these weights
  bool stop = false;      // EarlyStopping's patience is used up
};
EpochDecision OnEpochEnd(const v1::StageSpec& stage, int epoch, double val_loss,
                         v1::CallbackState& state);

}  // namespace atelier::trainer
