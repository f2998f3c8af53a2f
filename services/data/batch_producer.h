// One epoch of one data plan: batch = f(dataset, plan, epoch, step). Nothing stateful.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "atelier/v1/data_service.pb.h"
#include "common/vision/batch.h"
#include "common/vision/epoch_plan.h"
#include "services/data/catalog.h"
#include "services/data/picture_cache.h"

namespace atelier::data {

// Thread-safe. `catalog` and `cache` must outlive it.
class BatchProducer {
 public:
  // InvalidArgument names the field of the plan; FailedPrecondition when the subset is empty.
  static absl::StatusOr<std::shared_ptr<BatchProducer>> Create(
      Catalog& catalog, PictureCache& cache, std::shared_ptr<const Dataset> dataset,
      const v1::DataPlan& plan, int epoch);

  int steps() const { return epoch_plan_.steps(); }
  // Bytes of a full batch's pixels.
  int64_t batch_bytes() const;
  // 0 <= step < steps(). FailedPrecondition when a file changed meanwhile, ResourceExhausted
  // without memory: no exception comes out, it is called on workers' threads.
  absl::StatusOr<v1::Batch> Produce(int step) const;
  // A sample decoded and resized, nothing else.
  absl::StatusOr<std::shared_ptr<const vision::Image>> Picture(uint32_t sample) const;
  const Dataset& dataset() const { return *dataset_; }

 private:
  BatchProducer(Catalog& catalog, PictureCache& cache, std::shared_ptr<const Dataset> dataset,
                const v1::DataPlan& plan, vision::EpochPlan epoch_plan);

  Catalog& catalog_;
  PictureCache& cache_;
  const std::shared_ptr<const Dataset> dataset_;
  const v1::DataPlan plan_;
  const vision::EpochPlan epoch_plan_;
};

}  // namespace atelier::data
