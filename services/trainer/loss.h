// Categorical cross-entropy on soft labels. Torch header: only for TORCH targets.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace atelier::trainer {

struct LossOptions {
  // Weight of a sample by its likeliest class, as Keras 3 applies class_weight to dense labels; the
  // weighted losses are summed and divided by the number of samples, not by the weights' sum.
  std::vector<double> class_weights;  // empty: none
  // y := (1 - s) * y + s / K.
  double label_smoothing = 0;
};

// logits, labels: [N, K]; rows of labels sum to 1. Scalar, mean over the batch.
at::Tensor SoftCrossEntropy(const at::Tensor& logits, const at::Tensor& labels,
                            const LossOptions& options = {});

// Rows whose likeliest class is the label's likeliest (Keras' categorical_accuracy).
int64_t CountCorrect(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace atelier::trainer
