#include "common/nn/predictor.h"

#include <torch/torch.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/nn/member_model.h"
#include "common/nn/runtime.h"
#include "common/nn/scaling.h"
#include "common/nn/tensor_io.h"
#include "common/nn/torch_errors.h"

namespace atelier::nn {
namespace {

class TorchPredictor final : public Predictor {
 public:
  TorchPredictor(std::shared_ptr<MemberModel> model, PixelScaling scaling, at::Device device,
                 int64_t memory_bytes)
      : spec_(model->spec()),
        model_(std::move(model)),
        scaling_(scaling),
        device_(device),
        memory_bytes_(memory_bytes) {}

  absl::StatusOr<v1::Matrix> Predict(std::string_view pixels, int n) override {
    const v1::ImageSpec& image = spec_.image();
    const int64_t size = image.size();
    const int64_t channels = image.channels() == 0 ? 3 : image.channels();
    if (n < 1 || static_cast<int64_t>(pixels.size()) != n * size * size * channels) {
      return absl::InvalidArgumentError(absl::StrCat("expected ", n, " pictures of ", size, "x",
                                                     size, "x", channels, " bytes, got ",
                                                     pixels.size(), " bytes"));
    }
    return CatchTorchErrors("predict", [&]() -> absl::StatusOr<v1::Matrix> {
      const MutexLock lock(mutex_);
      return Forward(reinterpret_cast<const uint8_t*>(pixels.data()), n, size, channels);
    });
  }

  const v1::ModelSpec& model() const override { return spec_; }
  int64_t memory_bytes() const override { return memory_bytes_; }

 private:
  v1::Matrix Forward(const uint8_t* pixels, int n, int64_t size, int64_t channels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const c10::InferenceMode inference;
    const at::Tensor x = ScalePixels(pixels, n, size, size, channels, scaling_).to(device_);
    const at::Tensor probabilities =
        at::softmax(model_->Logits(x), 1).to(at::kCPU, at::kFloat).contiguous();
    v1::Matrix out;
    out.set_rows(n);
    out.set_columns(static_cast<int32_t>(probabilities.size(1)));
    out.set_data(probabilities.data_ptr(), probabilities.nbytes());
    return out;
  }

  const v1::ModelSpec spec_;
  Mutex mutex_;
  const std::shared_ptr<MemberModel> model_ ABSL_PT_GUARDED_BY(mutex_);
  const PixelScaling scaling_;
  const at::Device device_;
  const int64_t memory_bytes_;
};

absl::StatusOr<std::unique_ptr<Predictor>> Build(const v1::ModelSpec& spec,
                                                 std::string_view weights,
                                                 const PredictorOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::string device_name, ChooseDevice(options.device));
  ATELIER_ASSIGN_OR_RETURN(const PixelScaling scaling, ScalingOf(spec.backbone(), spec.scaling()));
  ATELIER_ASSIGN_OR_RETURN(auto tensors, LoadTensorsFromSafetensors(weights));
  ATELIER_ASSIGN_OR_RETURN(auto model, MemberModel::CreateUninitialized(spec));
  ATELIER_RETURN_IF_ERROR(model->LoadTensors(tensors));
  const at::Device device(device_name);
  model->to(device);
  const bool bf16 = options.precision == v1::BFLOAT16;
  int64_t bytes = model->backbone().FoldBatchNorms(bf16 ? at::kBFloat16 : at::kFloat);
  for (const auto& [name, tensor] : model->NamedTensors()) {
    if (name.starts_with("head/")) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return std::make_unique<TorchPredictor>(std::move(model), scaling, device, bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Predictor>> Predictor::Create(const v1::ModelSpec& model,
                                                             std::string_view weights,
                                                             const PredictorOptions& options) {
  return CatchTorchErrors("load a model", [&] { return Build(model, weights, options); });
}

}  // namespace atelier::nn
