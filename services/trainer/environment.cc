#include "services/trainer/environment.h"

#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/nn/member_model.h"
#include "common/nn/runtime.h"
#include "services/trainer/loss.h"

namespace atelier::trainer {
namespace {

constexpr int kMeasuredBatch = 8;
constexpr int kMeasuredSteps = 2;

std::string BuildDigest() {
  static const std::string digest = [] {
    const auto bytes = ReadFile("/proc/self/exe");
    return bytes.ok() ? Sha256Hex(*bytes) : std::string("unknown");
  }();
  return digest;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

// Seconds of the fastest of a few training steps on random pictures.
absl::StatusOr<double> MeasureStep(const v1::ModelSpec& spec, const at::Device& device,
                                   at::ScalarType compute) {
  ATELIER_ASSIGN_OR_RETURN(const auto model, nn::MemberModel::Create(spec, /*seed=*/1));
  model->to(device);
  const int64_t size = spec.image().size();
  const at::Tensor pixels =
      torch::rand({kMeasuredBatch, std::max(1, spec.image().channels()), size, size})
          .contiguous(at::MemoryFormat::ChannelsLast)
          .to(device);
  const at::Tensor labels =
      torch::full({kMeasuredBatch, spec.classes()}, 1.0 / spec.classes()).to(device);
  at::Generator generator = at::globalContext().defaultGenerator(device).clone();
  nn::ForwardOptions options;
  options.training = true;
  options.compute = compute;
  options.generator = &generator;
  double best = 1e30;
  for (int i = 0; i <= kMeasuredSteps; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    SoftCrossEntropy(model->Logits(pixels, options), labels).backward();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    if (i > 0) best = std::min(best, took.count());  // the first one warms up
  }
  return best;
}

absl::StatusOr<v1::Precision> FasterPrecision(const v1::ModelSpec& spec,
                                              const std::string& device) {
  static Mutex mutex;
  static std::map<std::string, v1::Precision>& known = *new std::map<std::string, v1::Precision>;
  const std::string key = absl::StrCat(spec.backbone(), "/", spec.image().size(), "/", device);
  MutexLock lock(mutex);
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  ATELIER_ASSIGN_OR_RETURN(const double full, MeasureStep(spec, at::Device(device), at::kFloat));
  ATELIER_ASSIGN_OR_RETURN(const double half, MeasureStep(spec, at::Device(device), at::kBFloat16));
  LogInfo("%s at %d px: %.1f images/s in float32, %.1f in bfloat16", spec.backbone(),
          spec.image().size(), kMeasuredBatch / full, kMeasuredBatch / half);
  return known[key] = half < full ? v1::BFLOAT16 : v1::FLOAT32;
}

}  // namespace

v1::Device DescribeDevice(const std::string& name, int threads) {
  v1::Device device;
  device.set_name(name);
  if (name == "cpu") {
    device.set_model(ProcessorName());
    device.set_memory_bytes(int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE));
  }
  device.set_threads(threads);
  device.set_isa(nn::IsaName());
  return device;
}

v1::NumericEnvironment ThisEnvironment(const v1::NumericEnvironment& task,
                                       const std::string& device) {
  v1::NumericEnvironment here = task;
  here.set_build(BuildDigest());
  here.set_device(device);
  here.set_isa(nn::IsaName());
  here.set_libtorch(nn::TorchVersion());
  return here;
}

absl::StatusOr<v1::NumericEnvironment> ChooseEnvironment(const v1::Assignment& assignment,
                                                         const std::string& device,
                                                         int trainer_threads) {
  v1::NumericEnvironment chosen;
  chosen.set_threads(nn::SetThreads(assignment.plan().threads() > 0 ? assignment.plan().threads()
                                                                    : trainer_threads));
  chosen.set_precision(assignment.plan().precision());
  if (chosen.precision() == v1::PRECISION_UNSPECIFIED || chosen.precision() == v1::AUTO_PRECISION) {
    if (assignment.plan().deterministic() || assignment.model().backbone() == "tiny_cnn") {
      chosen.set_precision(v1::FLOAT32);
    } else {
      ATELIER_ASSIGN_OR_RETURN(const v1::Precision faster,
                               FasterPrecision(assignment.model(), device));
      chosen.set_precision(faster);
    }
  }
  return ThisEnvironment(chosen, device);
}

std::vector<std::string> Differences(const v1::NumericEnvironment& stored,
                                     const v1::NumericEnvironment& here) {
  std::vector<std::string> fields;
  const auto compare = [&fields](const char* name, const auto& a, const auto& b) {
    if (a != b) fields.emplace_back(name);
  };
  compare("build", stored.build(), here.build());
  compare("device", stored.device(), here.device());
  compare("isa", stored.isa(), here.isa());
  compare("precision", stored.precision(), here.precision());
  compare("threads", stored.threads(), here.threads());
  compare("libtorch", stored.libtorch(), here.libtorch());
  return fields;
}

}  // namespace atelier::trainer
