#include "services/trainer/loss.h"

namespace atelier::trainer {

at::Tensor SoftCrossEntropy(const at::Tensor& logits, const at::Tensor& labels,
                            const LossOptions& options) {
  at::Tensor targets = labels;
  if (options.label_smoothing > 0) {
    const double classes = static_cast<double>(labels.size(1));
    targets = labels * (1.0 - options.label_smoothing) + options.label_smoothing / classes;
  }
  at::Tensor losses = -(targets * at::log_softmax(logits, 1)).sum(1);
  if (!options.class_weights.empty()) {
    const at::Tensor weights =
        torch::tensor(options.class_weights, losses.options()).index_select(0, labels.argmax(1));
    losses = losses * weights;
  }
  return losses.mean();
}

int64_t CountCorrect(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.argmax(1).eq(labels.argmax(1)).sum().item<int64_t>();
}

}  // namespace atelier::trainer
