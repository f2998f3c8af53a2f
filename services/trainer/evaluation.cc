#include "services/trainer/evaluation.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/status.h"
#include "common/nn/scaling.h"
#include "services/trainer/loss.h"
#include "services/trainer/step_tensors.h"

namespace atelier::trainer {

absl::StatusOr<ValidationScore> Validate(nn::MemberModel& model, ReadAhead& batches,
                                         at::ScalarType compute, const at::Device& device) {
  at::NoGradGuard no_grad;
  nn::ForwardOptions options;
  options.compute = compute;
  ATELIER_ASSIGN_OR_RETURN(const nn::PixelScaling scaling,
                           nn::ScalingOf(model.spec().backbone(), model.spec().scaling()));
  ValidationScore score;
  double correct = 0;
  while (true) {
    ATELIER_ASSIGN_OR_RETURN(const std::optional<v1::Batch> batch, batches.Next());
    if (!batch.has_value()) break;
    ATELIER_RETURN_IF_ERROR(CheckLabels(*batch, model.spec().classes()));
    const StepTensors step = ToTensors(*batch, scaling, device);
    const at::Tensor logits = model.Logits(step.pixels, options);
    score.loss += SoftCrossEntropy(logits, step.labels).item<double>() * batch->size();
    correct += static_cast<double>(CountCorrect(logits, step.labels));
    score.images += batch->size();
  }
  if (score.images == 0) return absl::FailedPreconditionError("the validation part is empty");
  const at::Tensor penalty = model.L2Penalty();
  score.loss = score.loss / static_cast<double>(score.images) +
               (penalty.defined() ? penalty.item<double>() : 0.0);
  score.accuracy = correct / static_cast<double>(score.images);
  return score;
}

absl::StatusOr<Predictions> PredictAll(nn::Predictor& predictor, ReadAhead& batches) {
  const int classes = predictor.model().classes();
  std::vector<uint32_t> ids;
  std::vector<int> labels;
  std::vector<float> values;
  while (true) {
    ATELIER_ASSIGN_OR_RETURN(const std::optional<v1::Batch> batch, batches.Next());
    if (!batch.has_value()) break;
    if (batch->labels_size() > 0) ATELIER_RETURN_IF_ERROR(CheckLabels(*batch, classes));
    ATELIER_ASSIGN_OR_RETURN(const v1::Matrix matrix,
                             predictor.Predict(batch->pixels(), batch->size()));
    ATELIER_ASSIGN_OR_RETURN(const ensemble::Probabilities rows, ensemble::FromMatrix(matrix));
    values.insert(values.end(), rows.values.begin(), rows.values.end());
    ids.insert(ids.end(), batch->sample_ids().begin(), batch->sample_ids().end());
    for (int i = 0; batch->labels_size() > 0 && i < batch->size(); ++i) {
      labels.push_back(ensemble::ArgMax({batch->labels().data() + static_cast<size_t>(i) * classes,
                                         static_cast<size_t>(classes)}));
    }
  }
  std::vector<size_t> order(ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ids[a] < ids[b]; });
  Predictions sorted;
  sorted.probabilities = {static_cast<int>(ids.size()), classes, {}};
  for (const size_t i : order) {
    sorted.probabilities.values.insert(sorted.probabilities.values.end(),
                                       values.begin() + static_cast<int64_t>(i * classes),
                                       values.begin() + static_cast<int64_t>((i + 1) * classes));
    if (!labels.empty()) sorted.labels.push_back(labels[i]);
  }
  return sorted;
}

}  // namespace atelier::trainer
