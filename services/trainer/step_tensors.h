// A batch of the wire as tensors. Torch header.
#pragma once

#include <torch/torch.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "atelier/v1/data_service.pb.h"
#include "common/nn/scaling.h"

namespace atelier::trainer {

struct StepTensors {
  at::Tensor pixels;  // float NCHW channels_last, scaled
  at::Tensor labels;  // float [N, K]; undefined for TEST
};

// DataLoss unless every picture has one number a class of the model: tensors of other shapes may
// broadcast, and train on garbage.
inline absl::Status CheckLabels(const v1::Batch& batch, int classes) {
  if (batch.labels_size() == int64_t{batch.size()} * classes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("step ", batch.step(), " has ", batch.labels_size(),
                                          " numbers as labels of ", batch.size(),
                                          " pictures, the model ", classes, " classes"));
}

// Of labels that CheckLabels let pass, or of none.
inline StepTensors ToTensors(const v1::Batch& batch, const nn::PixelScaling& scaling,
                             const at::Device& device) {
  StepTensors step;
  step.pixels =
      nn::ScalePixels(reinterpret_cast<const uint8_t*>(batch.pixels().data()), batch.size(),
                      batch.height(), batch.width(), batch.channels(), scaling)
          .to(device);
  if (batch.labels_size() > 0) {
    step.labels = torch::empty({batch.size(), batch.labels_size() / batch.size()});
    std::copy(batch.labels().begin(), batch.labels().end(), step.labels.data_ptr<float>());
    step.labels = step.labels.to(device);
  }
  return step;
}

}  // namespace atelier::trainer
