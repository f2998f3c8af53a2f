// A backbone (and head) seen from inside: any layer's output for pictures as they are. What
// `atelier model forward` and `check` use; predictions for users go through predictor.h. No torch
// here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::nn {

struct FloatArray {
  std::vector<int64_t> shape;  // images last-channel: [n, height, width, channels], or [n, width]
  std::vector<float> values;   // row-major
};

struct LayerStatistics {
  std::string layer;
  double mean = 0;
  double deviation = 0;  // of the population
};

// uint8 NHWC, 0..255, never resized.
struct PixelBatch {
  std::string_view bytes;
  int64_t n = 0;
  int64_t height = 0;
  int64_t width = 0;
};

struct InspectorOptions {
  std::string backbone;
  int channels = 3;  // 1: grey; a colour kernel is summed
  // Take the head of the weights, which then must have one; otherwise a head there is ignored.
  bool head = false;
};

// Not thread-safe. Batch norms are not folded: the numbers are those of the plain network.
class Inspector {
 public:
  // `weights`: bytes of a safetensors file. InvalidArgument: unknown backbone, not safetensors, NaN
  // or Inf. FailedPrecondition naming the first tensor that does not fit.
  static absl::StatusOr<std::unique_ptr<Inspector>> Create(const InspectorOptions& options,
                                                           std::string_view weights);
  virtual ~Inspector() = default;

  // `layer`: "gap" (pooled features), "probs" (softmax; needs the head) or a layer's name.
  // InvalidArgument: no such layer, pictures too small or bytes that do not fit the shape.
  virtual absl::StatusOr<FloatArray> Output(const PixelBatch& pixels, v1::Scaling scaling,
                                            const std::string& layer) = 0;
  // Every layer in the graph's order.
  virtual absl::StatusOr<std::vector<LayerStatistics>> Statistics(const PixelBatch& pixels,
                                                                  v1::Scaling scaling) = 0;
};

}  // namespace atelier::nn
