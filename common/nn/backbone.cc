#include "common/nn/backbone.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "common/base/status.h"
#include "common/nn/initializers.h"
#include "common/nn/layers.h"

namespace atelier::nn {
namespace {

// One call of layers.h. A batch norm may carry the activation after it.
struct Step {
  const Node* node = nullptr;
  int output = 0;  // node whose value this is
  Activation activation = Activation::kNone;
  // Folded programs only: constants in place of the graph's variables.
  at::Tensor kernel;
  at::Tensor bias;
  std::vector<int> dead_after;  // values nobody reads any more
};

std::vector<int> UseCounts(const Graph& graph) {
  std::vector<int> uses(graph.nodes.size(), 0);
  for (const Node& node : graph.nodes) {
    for (int input : node.inputs) ++uses[input];
  }
  return uses;
}

// The only reader of node `i`'s value, if there is exactly one.
std::optional<int> OnlyUser(const Graph& graph, const std::vector<int>& uses, int i) {
  if (uses[i] != 1) return std::nullopt;
  for (size_t j = i + 1; j < graph.nodes.size(); ++j) {
    const auto& inputs = graph.nodes[j].inputs;
    if (std::find(inputs.begin(), inputs.end(), i) != inputs.end()) return static_cast<int>(j);
  }
  return std::nullopt;
}

void MarkLastUses(std::vector<Step>& steps, size_t nodes) {
  std::vector<int> last(nodes, -1);
  for (size_t s = 0; s < steps.size(); ++s) {
    for (int input : steps[s].node->inputs) last[input] = static_cast<int>(s);
  }
  for (size_t i = 0; i < nodes; ++i) {
    if (last[i] >= 0) steps[last[i]].dead_after.push_back(static_cast<int>(i));
  }
}

}  // namespace

struct Backbone::Program {
  std::vector<Step> steps;
  at::ScalarType folded_compute = at::kFloat;
  bool folded = false;
};

Backbone::~Backbone() = default;

Backbone::Backbone(Graph graph) : graph_(std::move(graph)) {
  for (const Variable& variable : graph_.variables) {
    at::Tensor value = at::zeros(variable.shape, at::kFloat);
    std::string name = variable.name;  // torch's names must not contain dots
    std::replace(name.begin(), name.end(), '.', '_');
    variables_.push_back(IsTrainable(variable) ? register_parameter(name, value)
                                               : register_buffer(name, value));
  }
  const std::vector<int> uses = UseCounts(graph_);
  plain_ = std::make_unique<Program>();
  fused_ = std::make_unique<Program>();
  std::vector<bool> absorbed(graph_.nodes.size(), false);
  for (size_t i = 1; i < graph_.nodes.size(); ++i) {
    Step step;
    step.node = &graph_.nodes[i];
    step.output = static_cast<int>(i);
    step.activation = step.node->activation;
    plain_->steps.push_back(step);
    if (absorbed[i]) continue;
    const std::optional<int> user = OnlyUser(graph_, uses, step.output);
    if (step.node->op == Op::kBatchNorm && user && graph_.nodes[*user].op == Op::kActivation &&
        FusesWithBatchNorm(graph_.nodes[*user].activation)) {
      step.activation = graph_.nodes[*user].activation;
      step.output = *user;
      absorbed[*user] = true;
    }
    fused_->steps.push_back(step);
  }
  MarkLastUses(plain_->steps, graph_.nodes.size());
  MarkLastUses(fused_->steps, graph_.nodes.size());
}

void Backbone::Initialize(uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < variables_.size(); ++i) {
    const Variable& variable = graph_.variables[i];
    at::Tensor value = at::empty(variable.shape, at::kFloat);
    FillInitial(variable.initializer, KerasShape(variable), seed, static_cast<uint32_t>(i),
                std::span(value.data_ptr<float>(), static_cast<size_t>(value.numel())));
    variables_[i].copy_(value);
  }
}

namespace {

BatchNormVariables VariablesOf(const Node& node, const std::vector<at::Tensor>& all) {
  const size_t beta = HasGamma(node) ? 1 : 0;
  const auto variable = [&](size_t i) { return all[node.variables[i]]; };
  return {HasGamma(node) ? variable(0) : at::Tensor(),
          variable(beta),
          variable(beta + 1),
          variable(beta + 2),
          node.epsilon,
          node.momentum};
}

// A convolution's own constants of a folded program, else the graph's variables.
at::Tensor KernelOf(const Step& step, const std::vector<at::Tensor>& variables) {
  return step.kernel.defined() ? step.kernel : variables[step.node->variables[0]];
}
at::Tensor BiasOf(const Step& step, const std::vector<at::Tensor>& variables) {
  if (step.kernel.defined() || step.node->variables.size() < 2) return step.bias;
  return variables[step.node->variables[1]];
}

// Keras divides by the square roots of ImageNet's RGB deviations after the Normalization of its
// official EfficientNets, whose files hold these deviations as variances (tensorflow#49930).
constexpr double kImagenetDeviation[3] = {0.229, 0.224, 0.225};
constexpr double kDeviationTolerance = 1e-3;  // relative

bool IsImagenetDeviation(const at::Tensor& variance) {
  if (variance.numel() != 3) return false;
  const at::Tensor v = variance.to(at::kCPU, at::kDouble).contiguous();
  for (int c = 0; c < 3; ++c) {
    const double expected = kImagenetDeviation[c];
    if (std::abs(v.data_ptr<double>()[c] - expected) > kDeviationTolerance * expected) return false;
  }
  return true;
}

// In the variables' type: pixels 0..255 come this far.
at::Tensor Normalize(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& variance,
                     bool auto_scaling) {
  constexpr double kEpsilon = 1e-7;  // keras.config.epsilon
  at::Tensor deviation = variance.sqrt().clamp_min(kEpsilon);
  if (auto_scaling && IsImagenetDeviation(variance)) {
    deviation =
        deviation * at::tensor(at::ArrayRef<double>(kImagenetDeviation), variance.options()).sqrt();
  }
  return (x - mean.reshape({1, -1, 1, 1})) / deviation.reshape({1, -1, 1, 1});
}

// Stochastic depth (Huang et al. 2016): whole samples fall out, the others are scaled up.
at::Tensor DropSamples(const at::Tensor& x, double rate, const ForwardOptions& options) {
  if (!options.training || rate <= 0) return x;
  TORCH_CHECK(options.generator != nullptr, "dropout needs ForwardOptions::generator");
  const at::Tensor kept =
      at::empty({x.size(0), 1, 1, 1}, x.options().memory_format(at::MemoryFormat::Contiguous))
          .bernoulli_(1 - rate, *options.generator);
  return x * kept.div_(1 - rate);
}

at::Tensor RunStep(const Step& step, const std::vector<at::Tensor>& values,
                   const std::vector<at::Tensor>& variables, const ForwardOptions& options) {
  const Node& node = *step.node;
  const auto input = [&](size_t i) -> const at::Tensor& { return values[node.inputs[i]]; };
  const at::Tensor& x = input(0);
  switch (node.op) {
    case Op::kInput:
      return x;
    case Op::kConv:
      return Activate(
          Conv2d(x, KernelOf(step, variables), BiasOf(step, variables), node.stride, node.padding),
          step.activation);
    case Op::kDepthwiseConv:
      return Activate(DepthwiseConv2d(x, KernelOf(step, variables), BiasOf(step, variables),
                                      node.stride, node.padding),
                      step.activation);
    case Op::kBatchNorm: {
      const BatchNormVariables v = VariablesOf(node, variables);
      return options.training ? BatchNormTraining(x, v, step.activation)
                              : BatchNormInference(x, v, step.activation);
    }
    case Op::kActivation:
      return Activate(x, step.activation);
    case Op::kAdd:
      return at::add(x, input(1), node.scale);
    case Op::kMultiply:
      return x * input(1);
    case Op::kConcat: {
      std::vector<at::Tensor> parts;
      for (size_t i = 0; i < node.inputs.size(); ++i) parts.push_back(input(i));
      return at::cat(parts, 1);
    }
    case Op::kMaxPool:
      return MaxPool2d(x, node.kernel[0], node.stride, node.padding);
    case Op::kAveragePool:
      return AveragePool2d(x, node.kernel[0], node.stride, node.padding);
    case Op::kGlobalAverage:
      return x.mean({2, 3}, /*keepdim=*/true);
    case Op::kRescale:
      return x * node.scale;
    case Op::kNormalize:
      return Normalize(x, variables[node.variables[0]], variables[node.variables[1]],
                       options.auto_scaling);
    case Op::kDropout:
      return DropSamples(x, node.rate, options);
  }
  return x;
}

void FoldInto(Step& conv, const Step& batch_norm, const BatchNormVariables& v) {
  at::Tensor scale = (v.moving_variance + v.epsilon).rsqrt();
  if (v.gamma.defined()) scale = v.gamma * scale;
  conv.kernel = conv.kernel * scale.reshape({-1, 1, 1, 1});
  conv.bias = v.beta + (conv.bias.defined() ? conv.bias - v.moving_mean : -v.moving_mean) * scale;
  conv.activation = batch_norm.activation;
  conv.output = batch_norm.output;
}

// Depthwise kernels and biases stay float: they are small, and their accumulation is float anyway.
int64_t CastConstants(Step& step, at::ScalarType compute) {
  if (!step.kernel.defined()) return 0;
  if (step.node->op == Op::kConv) {
    step.kernel = step.kernel.to(compute).contiguous(at::MemoryFormat::ChannelsLast);
    if (step.bias.defined()) step.bias = step.bias.to(compute);
  }
  return static_cast<int64_t>(step.kernel.nbytes() +
                              (step.bias.defined() ? step.bias.nbytes() : 0));
}

}  // namespace

at::Tensor Backbone::Features(const at::Tensor& x, const ForwardOptions& options) {
  const Program& program = options.tap == nullptr ? *fused_ : *plain_;
  TORCH_CHECK(!(fused_->folded && (options.training || options.tap != nullptr)),
              "a folded backbone neither trains nor shows its layers");
  const at::ScalarType compute = program.folded                  ? program.folded_compute
                                 : options.compute == at::kFloat ? variables_[0].scalar_type()
                                                                 : options.compute;
  std::vector<at::Tensor> values(graph_.nodes.size());
  // Pixels that are normalised inside stay in full precision until then.
  const bool normalizes = graph_.nodes[1].op == Op::kRescale;
  values[0] = x.to(x.device(), normalizes ? x.scalar_type() : compute, false, false,
                   at::MemoryFormat::ChannelsLast);
  for (const Step& step : program.steps) {
    at::Tensor value = RunStep(step, values, variables_, options);
    if (step.node->op == Op::kNormalize) value = value.to(compute);
    values[step.output] = std::move(value);
    if (options.tap != nullptr) (*options.tap)(step.node->name, values[step.output]);
    for (int dead : step.dead_after) values[dead] = at::Tensor();
  }
  return values.back();
}

at::Tensor Backbone::Gap(const at::Tensor& x, const ForwardOptions& options) {
  return Features(x, options).to(variables_[0].scalar_type()).mean({2, 3});
}

int64_t Backbone::FoldBatchNorms(at::ScalarType compute) {
  const at::NoGradGuard no_grad;
  const std::vector<int> uses = UseCounts(graph_);
  auto folded = std::make_unique<Program>();
  folded->folded = true;
  folded->folded_compute = compute;
  std::vector<int> step_of(graph_.nodes.size(), -1);  // step that yields a node's value
  for (const Step& original : fused_->steps) {
    const Node& node = *original.node;
    const int input = node.inputs[0];
    const int before = step_of[input];
    const Node& producer = graph_.nodes[input];
    if (node.op == Op::kBatchNorm && uses[input] == 1 && before >= 0 &&
        (producer.op == Op::kConv || producer.op == Op::kDepthwiseConv)) {
      FoldInto(folded->steps[before], original, VariablesOf(node, variables_));
      step_of[original.output] = before;
      Release(node);
      continue;
    }
    Step step = original;
    step.dead_after.clear();
    if (node.op == Op::kConv || node.op == Op::kDepthwiseConv) {
      step.kernel = variables_[node.variables[0]].detach().clone();
      if (node.variables.size() > 1) step.bias = variables_[node.variables[1]].detach().clone();
      Release(node);
    }
    step_of[step.output] = static_cast<int>(folded->steps.size());
    folded->steps.push_back(std::move(step));
  }
  MarkLastUses(folded->steps, graph_.nodes.size());
  int64_t bytes = 0;
  for (Step& step : folded->steps) bytes += CastConstants(step, compute);
  for (const at::Tensor& variable : variables_) bytes += static_cast<int64_t>(variable.nbytes());
  fused_ = std::move(folded);
  return bytes;
}

void Backbone::Release(const Node& node) {
  for (int i : node.variables) {
    variables_[i].set_data(at::empty({0}, variables_[i].options()));
  }
}

absl::StatusOr<std::shared_ptr<Backbone>> MakeBackbone(std::string_view id, int input_channels) {
  ATELIER_ASSIGN_OR_RETURN(Graph graph, BuildBackboneGraph(id, input_channels));
  return std::make_shared<Backbone>(std::move(graph));
}

}  // namespace atelier::nn
