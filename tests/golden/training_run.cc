#include "tests/golden/training_run.h"

#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "common/nn/member_model.h"
#include "common/nn/scaling.h"
#include "services/trainer/adam.h"
#include "services/trainer/loss.h"
#include "tests/golden/pattern_weights.h"

namespace atelier::nn::testing {
namespace {

constexpr int64_t kHiddenUnits = 512;
constexpr int64_t kClasses = 7;
constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-7;

const char* NameOf(Variant variant) { return variant == Variant::kPlain ? "plain" : "weighted"; }

at::Tensor InKerasOrder(const at::Tensor& tensor, VariableKind kind) {
  if (kind == VariableKind::kKernel && tensor.dim() == 2) return tensor.t();
  if (kind == VariableKind::kKernel) return tensor.permute({2, 3, 1, 0});
  if (kind == VariableKind::kDepthwiseKernel) return tensor.permute({2, 3, 0, 1});
  return tensor;
}

// labels() of the script.
at::Tensor Labels(int64_t first, int64_t batch, Variant variant) {
  const bool soft = variant == Variant::kWeighted;
  at::Tensor y = at::zeros({batch, kClasses}, at::kDouble);
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t likely = (first + i) * 3 % kClasses;
    y[i][likely] = soft ? 0.75 : 1;
    if (soft) y[i][(likely + 2) % kClasses] = 0.25;
  }
  return y;
}

std::shared_ptr<MemberModel> ModelFor(const std::string& backbone, const nlohmann::json& reference,
                                      at::ScalarType type, Variant variant) {
  v1::ModelSpec spec;
  spec.set_backbone(backbone);
  spec.set_classes(kClasses);
  spec.set_scaling(v1::AUTO);
  spec.mutable_head()->set_hidden_units(kHiddenUnits);
  if (variant == Variant::kWeighted) spec.mutable_head()->set_l2(reference.at("l2").get<float>());
  spec.mutable_image()->set_size(reference.at("size").get<int>());
  auto model = MemberModel::CreateUninitialized(spec).value();
  const BatchNormTable table(reference.at("batch_norms"));
  const Graph& graph = model->backbone().graph();
  if (!model->LoadTensors(PatternTensors(graph, table, {kHiddenUnits, kClasses})).ok()) {
    throw std::runtime_error("the pattern does not fit " + backbone);
  }
  model->to(type);
  // No caller but this may change a graph: stochastic depth has no switch, as nobody turns it off.
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kDropout) const_cast<Node&>(node).rate = 0;
  }
  return model;
}

// The graph's kind of every tensor by artifact name; the head's kernels are kKernel.
std::map<std::string, VariableKind> KindsOf(const Graph& graph) {
  std::map<std::string, VariableKind> kinds;
  for (const Variable& v : graph.variables) kinds["backbone/" + v.name] = v.kind;
  for (const char* layer : {"head/dense", "head/predictions"}) {
    kinds[std::string(layer) + "/kernel"] = VariableKind::kKernel;
    kinds[std::string(layer) + "/bias"] = VariableKind::kBias;
  }
  return kinds;
}

// Names in the script's order: trained tensors, or statistics.
std::vector<std::string> Names(const MemberModel& model, const Graph& graph, bool statistics) {
  std::vector<std::string> names;
  if (!statistics) {
    for (const NamedTensor& parameter : model.TrainableParameters()) {
      names.push_back(parameter.name);
    }
    return names;
  }
  for (const Variable& v : graph.variables) {
    if (v.kind == VariableKind::kMovingMean || v.kind == VariableKind::kMovingVariance) {
      names.push_back("backbone/" + v.name);
    }
  }
  return names;
}

std::map<std::string, at::Tensor> Copies(const MemberModel& model) {
  std::map<std::string, at::Tensor> copies;
  for (const auto& [name, tensor] : model.NamedTensors()) {
    copies[name] = tensor.detach().clone();
  }
  return copies;
}

class Optimizer {
 public:
  Optimizer(const MemberModel& model, Updater updater)
      : parameters_(model.TrainableParameters()), updater_(updater), adam_(parameters_, {}) {}

  // Returns the first moments by name.
  std::map<std::string, at::Tensor> Step(double rate) {
    if (updater_ == Updater::kAdam) {
      adam_.Step(rate);
      return adam_.State();
    }
    const at::NoGradGuard no_grad;
    ++steps_;
    std::map<std::string, at::Tensor> moments;
    for (const NamedTensor& parameter : parameters_) {
      at::Tensor p = parameter.tensor;
      auto& [m, v] = state_[parameter.name];
      if (!m.defined()) std::tie(m, v) = std::pair(at::zeros_like(p), at::zeros_like(p));
      if (updater_ == Updater::kEpsilonAsTorch) {
        m.add_(p.grad() - m, 1 - kBeta1);
        v.add_(p.grad().square() - v, 1 - kBeta2);
        const at::Tensor root = (v / (1 - std::pow(kBeta2, steps_))).sqrt() + kEpsilon;
        p.sub_(m / (1 - std::pow(kBeta1, steps_)) / root, rate);
      }
      p.mutable_grad() = at::Tensor();
      moments["adam_m/" + parameter.name] = m;
    }
    return moments;
  }

 private:
  std::vector<NamedTensor> parameters_;
  Updater updater_;
  trainer::Adam adam_;
  std::map<std::string, std::pair<at::Tensor, at::Tensor>> state_;
  int steps_ = 0;
};

}  // namespace

Sketch SketchOf(const at::Tensor& in_keras_order) {
  const at::Tensor flat = in_keras_order.to(at::kDouble).contiguous();
  const double* const values = flat.data_ptr<double>();
  Sketch sketch = {};
  for (int64_t e = 0; e < flat.numel(); ++e) {
    const auto h = static_cast<uint32_t>(static_cast<uint64_t>(e) * 2654435761U);
    sketch[h >> 30] += (h >> 29 & 1) != 0 ? values[e] : -values[e];
  }
  return sketch;
}

TrainingNumbers Train(const std::string& backbone, const nlohmann::json& reference,
                      const TrainOptions& options) {
  const Variant variant = options.variant;
  const auto model = ModelFor(backbone, reference, options.type, variant);
  const Graph& graph = model->backbone().graph();
  const auto batch = reference.at("batch").get<int64_t>();
  const auto all = static_cast<int64_t>(reference.at(NameOf(variant)).at("losses").size());
  const int64_t steps = options.steps == 0 ? all : options.steps;
  const auto size = reference.at("size").get<int64_t>();
  const std::vector<uint8_t> pixels = PatternPictures(size, batch * steps);
  const PixelScaling scaling = ScalingOf(backbone, v1::AUTO).value();
  trainer::LossOptions loss_options;
  if (variant == Variant::kWeighted) {
    loss_options.class_weights = reference.at("class_weights").get<std::vector<double>>();
  }
  const std::map<std::string, VariableKind> kinds = KindsOf(graph);
  const std::map<std::string, at::Tensor> before = Copies(*model);
  Optimizer optimizer(*model, options.updater);
  TrainingNumbers numbers;
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor x =
        ScalePixels(pixels.data() + step * batch * size * size * 3, batch, size, size, 3, scaling)
            .to(options.type);
    const at::Tensor logits = model->Logits(x, {.training = true});
    at::Tensor loss = trainer::SoftCrossEntropy(
        logits, Labels(step * batch, batch, variant).to(options.type), loss_options);
    const at::Tensor penalty = model->L2Penalty();
    if (penalty.defined()) loss = loss + penalty;
    numbers.losses.push_back(loss.item<double>());
    loss.backward();
    const auto moments = optimizer.Step(reference.at("learning_rate").get<double>());
    if (step > 0) continue;
    for (const std::string& name : Names(*model, graph, false)) {
      numbers.gradients.push_back(
          {name,
           SketchOf(InKerasOrder(moments.at("adam_m/" + name), kinds.at(name)).to(at::kDouble) /
                    (1 - kBeta1))});
    }
  }
  const std::map<std::string, at::Tensor> after = model->NamedTensors();
  const auto change = [&](const std::string& name) {
    const at::Tensor moved =
        after.at(name).detach().to(at::kDouble) - before.at(name).to(at::kDouble);
    return TensorSketch{name, SketchOf(InKerasOrder(moved, kinds.at(name)))};
  };
  for (const std::string& name : Names(*model, graph, false)) {
    numbers.changes.push_back(change(name));
  }
  for (const std::string& name : Names(*model, graph, true)) {
    numbers.statistics.push_back(change(name));
  }
  return numbers;
}

TrainingNumbers KerasNumbers(const std::string& backbone, const nlohmann::json& reference,
                             Variant variant) {
  const std::string bytes = ReadGoldenData(backbone + "_training.f64");
  const auto trained = reference.at("trained").get<size_t>();
  const auto statistics = reference.at("statistics").get<size_t>();
  const size_t per_variant = 2 * trained + statistics;
  if (bytes.size() != 2 * per_variant * sizeof(Sketch)) {
    throw std::runtime_error(backbone + "_training.f64 does not fit its .json");
  }
  size_t next = variant == Variant::kPlain ? 0 : per_variant;
  const auto read = [&](size_t count) {
    std::vector<TensorSketch> out(count);
    for (TensorSketch& tensor : out) {
      std::memcpy(tensor.sketch.data(), bytes.data() + next++ * sizeof(Sketch), sizeof(Sketch));
    }
    return out;
  };
  TrainingNumbers numbers;
  numbers.losses = reference.at(NameOf(variant)).at("losses").get<std::vector<double>>();
  numbers.gradients = read(trained);
  numbers.changes = read(trained);
  numbers.statistics = read(statistics);
  return numbers;
}

}  // namespace atelier::nn::testing
