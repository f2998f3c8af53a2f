#include "common/nn/backbone.h"

#include <algorithm>
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
    if (step.node->op == Op::kBatchNorm && user && graph_.nodes[*user].op == Op::kActivation) {
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
  return {all[node.variables[0]], all[node.variables[1]], all[node.variables[2]],
          all[node.variables[3]], node.epsilon,           node.momentum};
}

at::Tensor RunStep(const Step& step, const std::vector<at::Tensor>& values,
                   const std::vector<at::Tensor>& variables, bool training) {
  const Node& node = *step.node;
  const at::Tensor& x = values[node.inputs[0]];
  switch (node.op) {
    case Op::kInput:
      return x;
    case Op::kConv: {
      const at::Tensor& kernel = step.kernel.defined() ? step.kernel : variables[node.variables[0]];
      return Activate(Conv2d(x, kernel, step.bias, node.stride, node.padding), step.activation);
    }
    case Op::kDepthwiseConv: {
      const at::Tensor& kernel = step.kernel.defined() ? step.kernel : variables[node.variables[0]];
      return Activate(DepthwiseConv2d(x, kernel, step.bias, node.stride, node.padding),
                      step.activation);
    }
    case Op::kBatchNorm: {
      const BatchNormVariables v = VariablesOf(node, variables);
      return training ? BatchNormTraining(x, v, step.activation)
                      : BatchNormInference(x, v, step.activation);
    }
    case Op::kActivation:
      return Activate(x, step.activation);
    case Op::kAdd:
      return Activate(x + values[node.inputs[1]], step.activation);
    case Op::kMaxPool:
      return MaxPool2d(x, node.kernel[0], node.stride, node.padding);
  }
  return x;
}

void FoldInto(Step& conv, const Step& batch_norm, const BatchNormVariables& v) {
  const at::Tensor scale = v.gamma / (v.moving_variance + v.epsilon).sqrt();
  conv.kernel = conv.kernel * scale.reshape({-1, 1, 1, 1});
  conv.bias = v.beta - v.moving_mean * scale;
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
  values[0] = x.to(x.device(), compute, false, false, at::MemoryFormat::ChannelsLast);
  for (const Step& step : program.steps) {
    values[step.output] = RunStep(step, values, variables_, options.training);
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
