#include "common/nn/inspector.h"

#include <torch/torch.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "common/nn/member_model.h"
#include "common/nn/scaling.h"
#include "common/nn/tensor_io.h"
#include "common/nn/torch_errors.h"

namespace atelier::nn {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// Units of the head the weights have; FailedPrecondition without one.
absl::Status ReadHead(const Tensors& tensors, v1::ModelSpec& spec) {
  const auto predictions = tensors.find("head/predictions/kernel");
  if (predictions == tensors.end() || predictions->second.dim() != 2) {
    return absl::FailedPreconditionError(
        "these weights have no head (tensor \"head/predictions/kernel\"), so there are no "
        "probabilities; layer gap needs none");
  }
  spec.set_classes(static_cast<int32_t>(predictions->second.size(0)));
  const auto dense = tensors.find("head/dense/kernel");
  if (dense != tensors.end() && dense->second.dim() == 2) {
    spec.mutable_head()->set_hidden_units(static_cast<int32_t>(dense->second.size(0)));
  }
  return absl::OkStatus();
}

// NCHW to NHWC; [n, width] stays.
FloatArray ToArray(const at::Tensor& tensor) {
  at::Tensor t = tensor.to(at::kCPU, at::kFloat);
  if (t.dim() == 4) t = t.permute({0, 2, 3, 1});
  t = t.contiguous();
  const auto* const data = t.data_ptr<float>();
  return {t.sizes().vec(), std::vector<float>(data, data + t.numel())};
}

class TorchInspector final : public Inspector {
 public:
  TorchInspector(std::shared_ptr<MemberModel> model, BackboneInfo info, int channels, bool head)
      : model_(std::move(model)), info_(std::move(info)), channels_(channels), head_(head) {}

  absl::StatusOr<FloatArray> Output(const PixelBatch& pixels, v1::Scaling scaling,
                                    const std::string& layer) override {
    if (layer == "probs" && !head_) {
      return absl::InvalidArgumentError("layer probs needs the head (--head)");
    }
    return CatchTorchErrors("run a model", [&]() -> absl::StatusOr<FloatArray> {
      ATELIER_ASSIGN_OR_RETURN(const at::Tensor x, Scale(pixels, scaling));
      const c10::InferenceMode inference;
      ForwardOptions options;
      options.auto_scaling = scaling != v1::NOTEBOOK;
      if (layer == "gap") return ToArray(model_->backbone().Gap(x, options));
      if (layer == "probs") return ToArray(Probabilities(model_->backbone().Gap(x, options)));
      at::Tensor found;
      const LayerTap tap = [&](const std::string& name, const at::Tensor& y) {
        if (name == layer) found = y;
      };
      options.tap = &tap;
      model_->backbone().Features(x, options);
      if (found.defined()) return ToArray(found);
      return absl::InvalidArgumentError(
          absl::StrCat(info_.id, " has no layer \"", layer.substr(0, 80),
                       "\"; `atelier model show ", info_.id, "` lists them; also gap and probs"));
    });
  }

  absl::StatusOr<std::vector<LayerStatistics>> Statistics(const PixelBatch& pixels,
                                                          v1::Scaling scaling) override {
    return CatchTorchErrors("run a model", [&]() -> absl::StatusOr<std::vector<LayerStatistics>> {
      ATELIER_ASSIGN_OR_RETURN(const at::Tensor x, Scale(pixels, scaling));
      const c10::InferenceMode inference;
      std::vector<LayerStatistics> out;
      const LayerTap tap = [&](const std::string& name, const at::Tensor& y) {
        const at::Tensor d = y.to(at::kDouble);
        out.push_back({name, d.mean().item<double>(), d.std(/*unbiased=*/false).item<double>()});
      };
      ForwardOptions options;
      options.auto_scaling = scaling != v1::NOTEBOOK;
      options.tap = &tap;
      model_->backbone().Features(x, options);
      return out;
    });
  }

 private:
  at::Tensor Probabilities(at::Tensor y) const {
    const Tensors tensors = model_->NamedTensors();
    const auto apply = [&](const std::string& layer) {
      return at::linear(y, tensors.at(layer + "/kernel"), tensors.at(layer + "/bias"));
    };
    if (model_->spec().head().hidden_units() > 0) y = at::relu(apply("head/dense"));
    return at::softmax(apply("head/predictions"), 1);
  }

  absl::StatusOr<at::Tensor> Scale(const PixelBatch& pixels, v1::Scaling scaling) const {
    if (pixels.n < 1 || pixels.height < info_.min_size || pixels.width < info_.min_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          info_.id, " takes pictures of at least ", info_.min_size, "x", info_.min_size,
          " pixels, not ", pixels.n, " of ", pixels.height, "x", pixels.width));
    }
    const int64_t expected = pixels.n * pixels.height * pixels.width * channels_;
    if (static_cast<int64_t>(pixels.bytes.size()) != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected ", expected, " bytes of pixels, got ", pixels.bytes.size()));
    }
    ATELIER_ASSIGN_OR_RETURN(const PixelScaling how, ScalingOf(info_.id, scaling));
    return ScalePixels(reinterpret_cast<const uint8_t*>(pixels.bytes.data()), pixels.n,
                       pixels.height, pixels.width, channels_, how);
  }

  const std::shared_ptr<MemberModel> model_;
  const BackboneInfo info_;
  const int channels_;
  const bool head_;
};

absl::StatusOr<std::unique_ptr<Inspector>> Build(const InspectorOptions& options,
                                                 std::string_view weights) {
  ATELIER_ASSIGN_OR_RETURN(BackboneInfo info, FindBackbone(options.backbone));
  ATELIER_ASSIGN_OR_RETURN(Tensors tensors, LoadTensorsFromSafetensors(weights));
  v1::ModelSpec spec;
  spec.set_backbone(info.id);
  spec.mutable_image()->set_size(info.default_size);  // of no consequence for the tensors
  spec.mutable_image()->set_channels(options.channels);
  spec.set_classes(2);
  if (options.head) {
    ATELIER_RETURN_IF_ERROR(ReadHead(tensors, spec));
  } else {
    std::erase_if(tensors, [](const auto& item) { return item.first.starts_with("head/"); });
  }
  ATELIER_ASSIGN_OR_RETURN(auto model, MemberModel::CreateUninitialized(spec));
  ATELIER_RETURN_IF_ERROR(model->LoadTensors(tensors, {.allow_missing_head = !options.head}));
  return std::make_unique<TorchInspector>(std::move(model), std::move(info), options.channels,
                                          options.head);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Inspector>> Inspector::Create(const InspectorOptions& options,
                                                             std::string_view weights) {
  return CatchTorchErrors("load a model", [&] { return Build(options, weights); });
}

}  // namespace atelier::nn
