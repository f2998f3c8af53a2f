// Scores over one pass of a batch stream. Torch header.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/ensemble/combine.h"
#include "common/nn/member_model.h"
#include "common/nn/predictor.h"
#include "services/trainer/read_ahead.h"

namespace atelier::trainer {

struct ValidationScore {
  double loss = 0;  // with the L2 term, as Keras' val_loss
  double accuracy = 0;
  int64_t images = 0;
};

// With the training network in evaluation mode, computing in `compute`. DataLoss: labels of another
// number of classes than the model's.
absl::StatusOr<ValidationScore> Validate(nn::MemberModel& model, ReadAhead& batches,
                                         at::ScalarType compute, const at::Device& device);

struct Predictions {
  ensemble::Probabilities probabilities;  // rows by ascending sample id
  std::vector<int> labels;                // argmax of the label; empty without labels
};

// With the weights as they are served. DataLoss as Validate's, but batches may have no labels.
absl::StatusOr<Predictions> PredictAll(nn::Predictor& predictor, ReadAhead& batches);

}  // namespace atelier::trainer
