#include "common/nn/scaling.h"

#include <ATen/Parallel.h>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"

namespace atelier::nn {

absl::StatusOr<PixelScaling> ScalingOf(std::string_view backbone, v1::Scaling scaling) {
  ATELIER_ASSIGN_OR_RETURN(const BackboneInfo info, FindBackbone(backbone));
  if (scaling == v1::NOTEBOOK) return PixelScaling{.divisor = 255, .mean = 0};
  if (info.id.starts_with("efficientnet_lite")) return PixelScaling{.divisor = 128, .mean = 127};
  return PixelScaling{.divisor = 127.5, .mean = 127.5};
}

at::Tensor ScalePixels(const uint8_t* pixels, int64_t n, int64_t height, int64_t width,
                       int64_t channels, const PixelScaling& scaling) {
  at::Tensor out =
      at::empty({n, channels, height, width},
                at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
  float table[256];
  for (int i = 0; i < 256; ++i) table[i] = (static_cast<float>(i) - scaling.mean) / scaling.divisor;
  // With one channel channels_last's strides may look like plain NCHW, but the memory is the same.
  float* y = out.data_ptr<float>();
  at::parallel_for(0, n * height * width * channels, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = table[pixels[i]];
  });
  return out;
}

}  // namespace atelier::nn
