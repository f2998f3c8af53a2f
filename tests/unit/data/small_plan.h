// The data room's tests' plan.
#pragma once

#include "atelier/v1/data_plan.pb.h"
#include "services/data/catalog.h"

namespace atelier::data {

// All that is labeled, two pictures of 32x32 a batch.
inline v1::DataPlan SmallPlan(const Dataset& dataset) {
  v1::DataPlan plan;
  plan.set_dataset_digest(dataset.digest);
  plan.set_subset(v1::ALL_LABELED);
  plan.mutable_image()->set_size(32);
  plan.mutable_image()->set_filter(v1::AREA);
  plan.set_batch_size(2);
  return plan;
}

}  // namespace atelier::data
