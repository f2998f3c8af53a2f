// bench_training_step BACKBONE SIZE BATCH float32|bfloat16 SECONDS: images/s of the training loop's
// step (services/trainer/training_loop.cc: TrainOn) on one batch that is there already.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/calm_openmp.h"
#include "common/nn/member_model.h"
#include "common/nn/runtime.h"
#include "services/trainer/adam.h"
#include "services/trainer/loss.h"
#include "services/trainer/step_tensors.h"
#include "tests/bench/round_loop.h"

namespace atelier::trainer {
namespace {

constexpr int kClasses = 7;
constexpr int kWarmUp = 3;

v1::Batch MakeBatch(int size, int batch_size) {
  v1::Batch batch;
  batch.set_size(batch_size);
  batch.set_height(size);
  batch.set_width(size);
  batch.set_channels(3);
  std::string& pixels = *batch.mutable_pixels();
  pixels.resize(static_cast<size_t>(batch_size) * size * size * 3);
  uint32_t state = 1;
  for (char& value : pixels) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<char>(state >> 24);
  }
  for (int i = 0; i < batch_size; ++i) {
    for (int k = 0; k < kClasses; ++k) batch.add_labels(i % kClasses == k ? 1.0F : 0.0F);
  }
  return batch;
}

int Main(const std::string& backbone, int size, int batch_size, at::ScalarType compute,
         double seconds) {
  nn::SetThreads(0);
  v1::ModelSpec spec;
  spec.set_backbone(backbone);
  spec.mutable_image()->set_size(size);
  spec.set_classes(kClasses);
  spec.mutable_head()->set_hidden_units(512);
  spec.mutable_head()->set_dropout(0.5F);
  spec.mutable_head()->set_l2(1e-3F);
  const auto model = nn::MemberModel::Create(spec, /*seed=*/1);
  const auto scaling = nn::ScalingOf(backbone, v1::AUTO);
  if (!model.ok() || !scaling.ok()) {
    std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
    return 1;
  }
  v1::OptimizerSpec optimizer;
  Adam adam((*model)->TrainableParameters(), optimizer);
  at::Generator generator = at::detail::createCPUGenerator();
  nn::ForwardOptions forward;
  forward.training = true;
  forward.compute = compute;
  forward.generator = &generator;
  const v1::Batch batch = MakeBatch(size, batch_size);

  const auto step = [&] {
    const StepTensors tensors = ToTensors(batch, *scaling, at::kCPU);
    const at::Tensor logits = (*model)->Logits(tensors.pixels, forward);
    const at::Tensor loss = SoftCrossEntropy(logits, tensors.labels, {}) + (*model)->L2Penalty();
    loss.item<double>();
    loss.backward();
    adam.Step(1e-4);
    CountCorrect(logits.detach(), tensors.labels);
  };
  for (int i = 0; i < kWarmUp; ++i) step();
  return bench::AnswerRounds([&] {
    const auto begun = std::chrono::steady_clock::now();
    int images = 0;
    while (images == 0 || bench::Seconds(begun) < seconds) {
      step();
      images += batch_size;
    }
    return absl::StrCat(images / bench::Seconds(begun));
  });
}

}  // namespace
}  // namespace atelier::trainer

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  atelier::nn::EnsureCalmOpenMp(argv);
  const std::string precision = argv[4];
  return atelier::trainer::Main(argv[1], std::atoi(argv[2]), std::atoi(argv[3]),
                                precision == "bfloat16" ? at::kBFloat16 : at::kFloat,
                                std::atof(argv[5]));
}
