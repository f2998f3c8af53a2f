#include "services/trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace atelier::trainer {

v1::CallbackState InitialCallbacks(const v1::StageSpec& stage) {
  v1::CallbackState state;
  state.set_best_val_loss(std::numeric_limits<double>::infinity());
  state.set_best_epoch(-1);
  state.set_plateau_best(std::numeric_limits<double>::infinity());
  state.set_learning_rate(static_cast<double>(stage.optimizer().learning_rate()));
  return state;
}

double LearningRate(const v1::StageSpec& stage, const v1::CallbackState& state, int64_t step,
                    int64_t total_steps) {
  const v1::ScheduleSpec& schedule = stage.schedule();
  if (!schedule.cosine()) return state.learning_rate();
  const double peak = static_cast<double>(stage.optimizer().learning_rate());
  const double floor = static_cast<double>(schedule.min_lr());
  const int64_t warmup = std::min<int64_t>(schedule.warmup_steps(), total_steps);
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double progress = static_cast<double>(step - warmup) /
                          static_cast<double>(std::max<int64_t>(1, total_steps - warmup));
  return floor + (peak - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

EpochDecision OnEpochEnd(const v1::StageSpec& stage, int epoch, double val_loss,
                         v1::CallbackState& state) {
  EpochDecision decision;
  if (val_loss < state.best_val_loss()) {
    decision.improved = true;
    state.set_best_val_loss(val_loss);
    state.set_best_epoch(epoch);
    state.set_epochs_since_best(0);
  } else {
    state.set_epochs_since_best(state.epochs_since_best() + 1);
    decision.stop = stage.early_stopping_patience() > 0 &&
                    state.epochs_since_best() >= stage.early_stopping_patience();
  }
  const v1::ScheduleSpec& schedule = stage.schedule();
  if (schedule.reduce_on_plateau()) {
    if (val_loss < state.plateau_best() - static_cast<double>(schedule.min_delta())) {
      state.set_plateau_best(val_loss);
      state.set_plateau_wait(0);
    } else {
      state.set_plateau_wait(state.plateau_wait() + 1);
      const double floor = static_cast<double>(schedule.min_lr());
      if (state.plateau_wait() >= schedule.patience() && state.learning_rate() > floor) {
        state.set_learning_rate(
            std::max(state.learning_rate() * static_cast<double>(schedule.factor()), floor));
        state.set_plateau_wait(0);
      }
    }
  }
  return decision;
}

}  // namespace atelier::trainer
