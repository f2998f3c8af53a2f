#include "common/vision/epoch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace atelier::vision {
namespace {

std::vector<uint32_t> Samples() {
  std::vector<uint32_t> samples(47);
  std::iota(samples.begin(), samples.end(), 100U);
  return samples;
}

v1::DataPlan Plan(bool shuffle, v1::CutMixSpec::Variant variant) {
  v1::DataPlan plan;
  plan.set_batch_size(20);
  plan.set_seed(42);
  plan.set_shuffle(shuffle);
  plan.mutable_cutmix()->set_variant(variant);
  return plan;
}

std::vector<uint32_t> Order(const EpochPlan& plan) {
  std::vector<uint32_t> order;
  for (int32_t step = 0; step < plan.steps(); ++step) {
    const auto samples = plan.Step(step);
    order.insert(order.end(), samples.begin(), samples.end());
  }
  return order;
}

std::vector<uint32_t> Sorted(std::vector<uint32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(EpochPlan, LastBatchIsShort) {
  EXPECT_EQ(StepsInEpoch(0, 20), 0);
  EXPECT_EQ(StepsInEpoch(40, 20), 2);
  EXPECT_EQ(StepsInEpoch(41, 20), 3);
  const EpochPlan plan(Samples(), Plan(true, v1::CutMixSpec::OFF), 0);
  EXPECT_EQ(plan.steps(), 3);
  EXPECT_EQ(plan.Step(0).size(), 20U);
  EXPECT_EQ(plan.Step(2).size(), 7U);
}

TEST(EpochPlan, EverySampleComesExactlyOnceInEveryEpoch) {
  for (uint32_t epoch = 0; epoch < 3; ++epoch) {
    const EpochPlan plan(Samples(), Plan(true, v1::CutMixSpec::OFF), epoch);
    EXPECT_EQ(Sorted(Order(plan)), Samples());
  }
}

TEST(EpochPlan, OrderIsAFunctionOfSeedAndEpoch) {
  const auto order = [](uint64_t seed, uint32_t epoch) {
    v1::DataPlan plan = Plan(true, v1::CutMixSpec::OFF);
    plan.set_seed(seed);
    return Order(EpochPlan(Samples(), plan, epoch));
  };
  EXPECT_EQ(order(1, 5), order(1, 5));
  EXPECT_NE(order(1, 5), order(1, 6));
  EXPECT_NE(order(1, 5), order(2, 5));
}

TEST(EpochPlan, WithoutShuffleSamplesComeInOrder) {
  EXPECT_EQ(Order(EpochPlan(Samples(), Plan(false, v1::CutMixSpec::OFF), 3)), Samples());
}

TEST(EpochPlan, PartnersAreTheSameSamplesShuffledIndependently) {
  const EpochPlan plan(Samples(), Plan(true, v1::CutMixSpec::NOTEBOOK), 1);
  std::vector<uint32_t> partners;
  for (int32_t step = 0; step < plan.steps(); ++step) {
    const auto ids = plan.Partners(step);
    EXPECT_EQ(ids.size(), plan.Step(step).size());
    partners.insert(partners.end(), ids.begin(), ids.end());
  }
  EXPECT_EQ(Sorted(partners), Samples());
  EXPECT_NE(partners, Order(plan));
}

TEST(EpochPlan, ThereAreNoPartnersWhenCutMixIsOff) {
  EXPECT_TRUE(EpochPlan(Samples(), Plan(true, v1::CutMixSpec::OFF), 0).Partners(0).empty());
  v1::DataPlan plan = Plan(true, v1::CutMixSpec::TIMM);
  plan.mutable_cutmix()->set_off_after_epoch(1);
  EXPECT_FALSE(EpochPlan(Samples(), plan, 0).Partners(0).empty());
  EXPECT_TRUE(EpochPlan(Samples(), plan, 1).Partners(0).empty());
}

}  // namespace
}  // namespace atelier::vision
