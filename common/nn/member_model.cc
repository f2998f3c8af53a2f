#include "common/nn/member_model.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/nn/caching_allocator.h"
#include "common/nn/catalog.h"
#include "common/nn/initializers.h"

namespace atelier::nn {
namespace {

// Item numbers of the head's random streams; a backbone has fewer variables than this.
constexpr uint32_t kHiddenKernelItem = 100'000;
constexpr uint32_t kPredictionsKernelItem = 100'001;
constexpr int kMaxClasses = 100'000;
constexpr int kMaxHiddenUnits = 65'536;

absl::Status CheckSpec(const v1::ModelSpec& spec) {
  if (spec.classes() < 2 || spec.classes() > kMaxClasses) {
    return absl::InvalidArgumentError(
        absl::StrCat("a model needs 2..", kMaxClasses, " classes, not ", spec.classes()));
  }
  const v1::HeadSpec& head = spec.head();
  if (head.hidden_units() < 0 || head.hidden_units() > kMaxHiddenUnits) {
    return absl::InvalidArgumentError(absl::StrCat("head.hidden_units must be 0..", kMaxHiddenUnits,
                                                   ", not ", head.hidden_units()));
  }
  if (!(head.dropout() >= 0 && head.dropout() < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("head.dropout must be in [0, 1), not ", head.dropout()));
  }
  if (!(head.l2() >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("head.l2 must not be negative: ", head.l2()));
  }
  ATELIER_ASSIGN_OR_RETURN(const BackboneInfo info, FindBackbone(spec.backbone()));
  if (spec.image().size() < info.min_size || spec.image().size() > 1024) {
    return absl::InvalidArgumentError(absl::StrCat(info.id, " takes images of ", info.min_size,
                                                   "..1024 pixels, not ", spec.image().size()));
  }
  return absl::OkStatus();
}

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape.begin(), shape.end(), ", "), "]");
}

bool IsGreyFromColor(at::IntArrayRef own, at::IntArrayRef other) {
  if (own.size() == 1) return own[0] == 1 && other.size() == 1 && other[0] == 3;
  return own.size() == 4 && other.size() == 4 && own[1] == 1 && other[1] == 3 &&
         own[0] == other[0] && own[2] == other[2] && own[3] == other[3];
}

// Kernels are summed, so that a grey picture gives what three equal channels gave; the statistics
// of a Normalization are averaged.
at::Tensor GreyFromColor(const at::Tensor& color) {
  return color.dim() == 1 ? color.mean(0, /*keepdim=*/true) : color.sum(1, /*keepdim=*/true);
}

void FillDense(at::Tensor& kernel, Initializer initializer, uint64_t seed, uint32_t item) {
  FillInitial(initializer, {kernel.size(1), kernel.size(0)}, seed, item,
              std::span(kernel.data_ptr<float>(), static_cast<size_t>(kernel.numel())));
}

}  // namespace

MemberModel::MemberModel(v1::ModelSpec spec, std::shared_ptr<Backbone> backbone)
    : spec_(std::move(spec)), backbone_(register_module("backbone", std::move(backbone))) {
  int64_t width = backbone_->graph().features();
  const int64_t units = spec_.head().hidden_units();
  if (units > 0) {
    hidden_kernel_ = register_parameter("head_dense_kernel", at::zeros({units, width}));
    hidden_bias_ = register_parameter("head_dense_bias", at::zeros({units}));
    width = units;
  }
  const int64_t classes = spec_.classes();
  predictions_kernel_ = register_parameter("head_predictions_kernel", at::zeros({classes, width}));
  predictions_bias_ = register_parameter("head_predictions_bias", at::zeros({classes}));
}

absl::StatusOr<std::shared_ptr<MemberModel>> MemberModel::CreateUninitialized(
    const v1::ModelSpec& spec) {
  ATELIER_RETURN_IF_ERROR(CheckSpec(spec));
  const int channels = spec.image().channels() == 0 ? 3 : spec.image().channels();
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<Backbone> backbone,
                           MakeBackbone(spec.backbone(), channels));
  return std::shared_ptr<MemberModel>(new MemberModel(spec, std::move(backbone)));
}

absl::StatusOr<std::shared_ptr<MemberModel>> MemberModel::Create(const v1::ModelSpec& spec,
                                                                 uint64_t seed) {
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<MemberModel> model, CreateUninitialized(spec));
  model->backbone_->Initialize(seed);
  model->InitializeHead(seed);
  return model;
}

void MemberModel::InitializeHead(uint64_t seed) {
  const at::NoGradGuard no_grad;
  if (hidden_kernel_.defined()) {
    FillDense(hidden_kernel_, Initializer::kHeNormal, seed, kHiddenKernelItem);
  }
  FillDense(predictions_kernel_, Initializer::kGlorotUniform, seed, kPredictionsKernelItem);
}

at::Tensor MemberModel::Logits(const at::Tensor& x, const ForwardOptions& options) {
  if (options.training) InstallCachingAllocator();
  ForwardOptions backbone_options = options;
  backbone_options.auto_scaling = spec_.scaling() != v1::NOTEBOOK;
  at::Tensor y = backbone_->Gap(x, backbone_options);
  if (hidden_kernel_.defined()) y = at::relu(at::linear(y, hidden_kernel_, hidden_bias_));
  if (options.training && spec_.head().dropout() > 0) {
    TORCH_CHECK(options.generator != nullptr, "dropout needs ForwardOptions::generator");
    y = Dropout(y, spec_.head().dropout(), *options.generator);
  }
  return at::linear(y, predictions_kernel_, predictions_bias_);
}

std::map<std::string, at::Tensor> MemberModel::NamedTensors() const {
  std::map<std::string, at::Tensor> out;
  const Graph& graph = backbone_->graph();
  for (size_t i = 0; i < graph.variables.size(); ++i) {
    out.emplace("backbone/" + graph.variables[i].name, backbone_->variables()[i]);
  }
  for (const NamedTensor& parameter : TrainableParameters()) {
    out.emplace(parameter.name, parameter.tensor);
  }
  return out;
}

absl::Status MemberModel::LoadTensors(const std::map<std::string, at::Tensor>& tensors,
                                      const LoadOptions& options) {
  const std::map<std::string, at::Tensor> own = NamedTensors();
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      if (options.allow_missing_head && name.starts_with("head/")) continue;
      return absl::FailedPreconditionError(absl::StrCat("the weights do not fit ", spec_.backbone(),
                                                        ": tensor \"", name, "\" is missing"));
    }
    const at::Tensor& given = found->second;
    if (given.sizes() != tensor.sizes() && !IsGreyFromColor(tensor.sizes(), given.sizes())) {
      return absl::FailedPreconditionError(
          absl::StrCat("the weights do not fit ", spec_.backbone(), ": tensor \"", name, "\" is ",
                       ShapeText(given.sizes()), ", expected ", ShapeText(tensor.sizes())));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!own.contains(name)) {
      return absl::FailedPreconditionError(absl::StrCat("the weights do not fit ", spec_.backbone(),
                                                        ": unexpected tensor \"", name, "\""));
    }
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, given] : tensors) {
    const at::Tensor& target = own.at(name);
    target.copy_(given.sizes() == target.sizes() ? given : GreyFromColor(given));
  }
  return absl::OkStatus();
}

std::vector<NamedTensor> MemberModel::TrainableParameters() const {
  std::vector<NamedTensor> out;
  const Graph& graph = backbone_->graph();
  for (size_t i = 0; i < graph.variables.size(); ++i) {
    if (!IsTrainable(graph.variables[i])) continue;
    out.push_back({"backbone/" + graph.variables[i].name, backbone_->variables()[i]});
  }
  if (hidden_kernel_.defined()) {
    out.push_back({"head/dense/kernel", hidden_kernel_});
    out.push_back({"head/dense/bias", hidden_bias_});
  }
  out.push_back({"head/predictions/kernel", predictions_kernel_});
  out.push_back({"head/predictions/bias", predictions_bias_});
  return out;
}

const at::Tensor& MemberModel::l2_kernel() const {
  return hidden_kernel_.defined() ? hidden_kernel_ : predictions_kernel_;
}

at::Tensor MemberModel::L2Penalty() const {
  if (spec_.head().l2() <= 0) return {};
  return l2_kernel().square().sum() * static_cast<double>(spec_.head().l2());
}

at::Tensor Dropout(const at::Tensor& x, double rate, at::Generator& generator) {
  const at::Tensor kept = at::empty_like(x).bernoulli_(1 - rate, generator);
  return x * kept.div_(1 - rate);
}

}  // namespace atelier::nn
