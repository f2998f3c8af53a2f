#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "common/vision/batch.h"
#include "tests/testing/status_matchers.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

v1::DataPlan Good() {
  v1::DataPlan plan;
  plan.set_batch_size(20);
  plan.set_subset(v1::TRAINING);
  plan.mutable_image()->set_size(200);
  return plan;
}

TEST(ValidateDataPlan, AcceptsAPlainPlan) { EXPECT_THAT(ValidateDataPlan(Good()), IsOk()); }

TEST(ValidateDataPlan, NamesTheFieldOutOfRange) {
  const struct {
    const char* field;
    std::function<void(v1::DataPlan*)> spoil;
  } cases[] = {
      {"batch_size", [](v1::DataPlan* p) { p->set_batch_size(0); }},
      {"batch_size", [](v1::DataPlan* p) { p->set_batch_size(1025); }},
      {"image.size", [](v1::DataPlan* p) { p->mutable_image()->set_size(15); }},
      {"image.size", [](v1::DataPlan* p) { p->mutable_image()->set_size(1 << 30); }},
      {"image.channels", [](v1::DataPlan* p) { p->mutable_image()->set_channels(4); }},
      {"image.filter",
       [](v1::DataPlan* p) { p->mutable_image()->set_filter(static_cast<v1::ResizeFilter>(9)); }},
      {"subset", [](v1::DataPlan* p) { p->set_subset(v1::SUBSET_UNSPECIFIED); }},
      {"validation_fraction",
       [](v1::DataPlan* p) {
         p->mutable_split()->set_validation_fraction(std::numeric_limits<double>::quiet_NaN());
       }},
      {"zoom", [](v1::DataPlan* p) { p->mutable_augmentation()->set_zoom(-1); }},
      {"cutmix.alpha", [](v1::DataPlan* p) { p->mutable_cutmix()->set_alpha(1e9F); }},
  };
  for (const auto& test : cases) {
    v1::DataPlan plan = Good();
    test.spoil(&plan);
    EXPECT_THAT(ValidateDataPlan(plan),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(test.field)));
  }
}

}  // namespace
}  // namespace atelier::vision
