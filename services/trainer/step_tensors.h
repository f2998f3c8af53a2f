// A batch of the wire as tensors. Torch header.
#pragma once

#include <torch/torch.h>

#include "atelier/v1/data_service.pb.h"
#include "common/nn/scaling.h"

namespace atelier::trainer {

struct StepTensors {
  at::Tensor pixels;  // float NCHW channels_last, scaled
  at::Tensor labels;  // float [N, K]; undefined for TEST
};

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
