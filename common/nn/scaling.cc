#include "common/nn/scaling.h"

#include <ATen/Parallel.h>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"

namespace atelier::nn {
namespace {

PixelScaling Alike(float mean, float divisor) {
  return {.mean = {mean, mean, mean}, .divisor = {divisor, divisor, divisor}};
}

// Of a grey picture: as if all channels were alike.
PixelScaling Averaged(const PixelScaling& s) {
  return Alike((s.mean[0] + s.mean[1] + s.mean[2]) / 3,
               (s.divisor[0] + s.divisor[1] + s.divisor[2]) / 3);
}

}  // namespace

absl::StatusOr<PixelScaling> ScalingOf(std::string_view backbone, v1::Scaling scaling) {
  ATELIER_ASSIGN_OR_RETURN(const BackboneInfo info, FindBackbone(backbone));
  if (scaling == v1::NOTEBOOK) return Alike(0, 255);
  switch (info.input) {
    case ImagenetInput::kPixels:
      return Alike(0, 1);
    case ImagenetInput::kMinusOneToOne:
      return Alike(127.5, 127.5);
    case ImagenetInput::kLite:
      return Alike(127, 128);
    case ImagenetInput::kStandardized:
      return PixelScaling{.mean = {255 * 0.485F, 255 * 0.456F, 255 * 0.406F},
                          .divisor = {255 * 0.229F, 255 * 0.224F, 255 * 0.225F}};
  }
  return Alike(0, 1);
}

at::Tensor ScalePixels(const uint8_t* pixels, int64_t n, int64_t height, int64_t width,
                       int64_t channels, const PixelScaling& scaling) {
  at::Tensor out =
      at::empty({n, channels, height, width},
                at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast));
  const PixelScaling by_channel = channels == 1 ? Averaged(scaling) : scaling;
  float table[3][256];
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < 256; ++i) {
      table[c][i] = (static_cast<float>(i) - by_channel.mean[c]) / by_channel.divisor[c];
    }
  }
  // With one channel channels_last's strides may look like plain NCHW, but the memory is the same.
  float* y = out.data_ptr<float>();
  at::parallel_for(0, n * height * width, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * channels; i < end * channels; i += channels) {
      for (int64_t c = 0; c < channels; ++c) y[i + c] = table[c][pixels[i + c]];
    }
  });
  return out;
}

}  // namespace atelier::nn
