// The process's numeric runtime: threads, devices, what the numbers depend on. No torch here.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::nn {

// Threads of LibTorch's operators in this process; LibTorch starts with 1 in a C++ program.
// n <= 0: all cores. Returns what is in force.
int SetThreads(int n);

// "auto" -> "cuda:0" when LibTorch has a CUDA device, else "cpu". "cpu", "cuda", "cuda:N" are
// checked. InvalidArgument for anything else; FailedPrecondition when that device is not there.
absl::StatusOr<std::string> ChooseDevice(std::string_view wanted);

// FailedPrecondition with the fix when LibTorch runs on reference BLAS (20 times slower) instead of
// OpenBLAS. Binaries that use LibTorch log it as an error at start and go on.
absl::Status CheckBlas();

// e.g. "1.13.1".
std::string TorchVersion();
// What the kernels of this process use: "avx512_bf16", "avx512", "avx2" or "portable", then
// LibTorch's own capability, with "+AMX" where oneDNN has tiles for bf16, e.g.
// "avx512_bf16/AVX512+AMX".
std::string IsaName();
// LibTorch's operators, deterministic algorithms only (CUDA; the CPU's are as used here).
void SetDeterministic(bool on);

}  // namespace atelier::nn
