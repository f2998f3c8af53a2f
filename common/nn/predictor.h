// Weights to probabilities. The only way anything predicts: trainer, aggregator, tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"
#include "atelier/v1/recipe.pb.h"

namespace atelier::nn {

struct PredictorOptions {
  // "auto": CUDA when LibTorch has one, else "cpu".
  std::string device = "auto";
  v1::Precision precision = v1::FLOAT32;
};

// Thread-safe; one forward at a time per predictor.
class Predictor {
 public:
  // `weights`: bytes of a safetensors file with the whole member ("backbone/…", "head/…").
  // InvalidArgument: not safetensors. FailedPrecondition: does not fit the spec (first mismatch
  // named). ResourceExhausted: over a limit of safetensors, or no memory.
  static absl::StatusOr<std::unique_ptr<Predictor>> Create(const v1::ModelSpec& model,
                                                           std::string_view weights,
                                                           const PredictorOptions& options = {});
  virtual ~Predictor() = default;

  // `pixels`: uint8 NHWC [n, size, size, channels], 0..255, already resized; n >= 1.
  // Returns softmax, float32 row-major [n, classes]; ResourceExhausted without memory.
  virtual absl::StatusOr<v1::Matrix> Predict(std::string_view pixels, int n) = 0;

  virtual const v1::ModelSpec& model() const = 0;
  virtual int64_t memory_bytes() const = 0;
};

}  // namespace atelier::nn
