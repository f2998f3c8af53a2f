#include "common/nn/runtime.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/nn/kernels/simd_kernels.h"

namespace atelier::nn {
namespace {

// oneDNN sums bf16 products in tiles where the processor has them, in another order than without.
bool HasBf16Tiles() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("amx-bf16") != 0;
#else
  return false;
#endif
}

}  // namespace

int SetThreads(int n) {
  if (n <= 0) n = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  at::set_num_threads(n);
  return at::get_num_threads();
}

absl::StatusOr<std::string> ChooseDevice(std::string_view wanted) {
  const bool cuda = torch::cuda::is_available();
  if (wanted == "auto" || wanted.empty()) return cuda ? "cuda:0" : "cpu";
  if (wanted == "cpu") return "cpu";
  const bool well_formed =
      wanted == "cuda" || (wanted.starts_with("cuda:") && wanted.size() > 5 && wanted.size() < 8 &&
                           wanted.find_first_not_of("0123456789", 5) == std::string_view::npos);
  if (!well_formed) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown device \"", std::string(wanted.substr(0, 32)), "\"; use auto, cpu or cuda:N"));
  }
  const int index = wanted == "cuda" ? 0 : std::stoi(std::string(wanted.substr(5)));
  if (!cuda || index >= static_cast<int>(torch::cuda::device_count())) {
    return absl::FailedPreconditionError(
        absl::StrCat("device ", std::string(wanted), " is not there: LibTorch sees ",
                     cuda ? torch::cuda::device_count() : 0, " CUDA devices"));
  }
  return absl::StrCat("cuda:", index);
}

absl::Status CheckBlas() {
  if (::dlsym(RTLD_DEFAULT, "openblas_get_config") != nullptr) return absl::OkStatus();
  void* const sgemm = ::dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info{};
  // PyPI's LibTorch carries its own BLAS inside.
  if (sgemm == nullptr || ::dladdr(sgemm, &info) == 0) return absl::OkStatus();
  std::error_code ignored;
  const std::string library = std::filesystem::weakly_canonical(info.dli_fname, ignored).string();
  for (const char* fast : {"openblas", "mkl", "blis", "libtorch"}) {
    if (library.find(fast) != std::string::npos) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      "LibTorch runs on reference BLAS, about 20 times slower than OpenBLAS. "
      "Fix: apt-get install libopenblas0-pthread, then start again");
}

std::string TorchVersion() {
  return absl::StrCat(TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH);
}

std::string IsaName() {
  // LibTorch tells its own choice only in the text "CPU capability usage: AVX512".
  static constexpr char kKey[] = "CPU capability usage: ";
  const std::string config = at::show_config();
  const size_t at = config.find(kKey);
  const std::string capability =
      at == std::string::npos
          ? "unknown"
          : config.substr(at + sizeof(kKey) - 1, config.find('\n', at) - at - sizeof(kKey) + 1);
  return absl::StrCat(kernels::SimdKernels().isa, "/", capability, HasBf16Tiles() ? "+AMX" : "");
}

void SetDeterministic(bool on) {
  at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/false);
  at::globalContext().setBenchmarkCuDNN(false);
}

}  // namespace atelier::nn
