#include "services/trainer/schedule.h"

#include <gtest/gtest.h>

#include <vector>

namespace atelier::trainer {
namespace {

v1::StageSpec Stage(int patience) {
  v1::StageSpec stage;
  stage.set_early_stopping_patience(patience);
  stage.mutable_optimizer()->set_learning_rate(1e-4F);
  v1::ScheduleSpec& schedule = *stage.mutable_schedule();
  schedule.set_reduce_on_plateau(true);
  schedule.set_factor(0.5F);
  schedule.set_patience(2);
  schedule.set_min_lr(4e-5F);
  schedule.set_min_delta(1e-4F);
  return stage;
}

TEST(OnEpochEnd, StopsWhenThePatienceIsUsedUpAndKeepsTheBestEpoch) {
  const v1::StageSpec stage = Stage(3);
  v1::CallbackState state = InitialCallbacks(stage);
  std::vector<bool> improved;
  std::vector<bool> stop;
  int epoch = 0;
  for (const double loss : {1.0, 0.8, 0.9, 0.85, 0.8}) {
    const EpochDecision decision = OnEpochEnd(stage, epoch++, loss, state);
    improved.push_back(decision.improved);
    stop.push_back(decision.stop);
  }
  EXPECT_EQ(improved, (std::vector<bool>{true, true, false, false, false}));
  EXPECT_EQ(stop, (std::vector<bool>{false, false, false, false, true}));
  EXPECT_EQ(state.best_epoch(), 1);
  EXPECT_EQ(state.best_val_loss(), 0.8);
}

TEST(OnEpochEnd, HalvesTheRateOnAPlateauDownToItsFloor) {
  const v1::StageSpec stage = Stage(0);
  v1::CallbackState state = InitialCallbacks(stage);
  OnEpochEnd(stage, 0, 1.0, state);
  OnEpochEnd(stage, 1, 1.0, state);
  EXPECT_FLOAT_EQ(static_cast<float>(state.learning_rate()), 1e-4F);
  OnEpochEnd(stage, 2, 0.99995, state);  // less than min_delta is no improvement
  EXPECT_FLOAT_EQ(static_cast<float>(state.learning_rate()), 5e-5F);
  OnEpochEnd(stage, 3, 1.0, state);
  OnEpochEnd(stage, 4, 1.0, state);
  EXPECT_FLOAT_EQ(static_cast<float>(state.learning_rate()), 4e-5F);
  EXPECT_FALSE(OnEpochEnd(stage, 5, 2.0, state).stop) << "patience 0 never stops";
}

TEST(LearningRate, CosineWarmsUpAndEndsNearTheFloor) {
  v1::StageSpec stage;
  stage.mutable_optimizer()->set_learning_rate(1.0F);
  stage.mutable_schedule()->set_cosine(true);
  stage.mutable_schedule()->set_warmup_steps(4);
  stage.mutable_schedule()->set_min_lr(0.1F);
  const v1::CallbackState state = InitialCallbacks(stage);
  EXPECT_DOUBLE_EQ(LearningRate(stage, state, 0, 104), 0.25);
  EXPECT_DOUBLE_EQ(LearningRate(stage, state, 3, 104), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(stage, state, 4, 104), 1.0);
  EXPECT_NEAR(LearningRate(stage, state, 54, 104), 0.55, 1e-6);
  EXPECT_NEAR(LearningRate(stage, state, 104, 104), 0.1, 1e-6);
}

}  // namespace
}  // namespace atelier::trainer
