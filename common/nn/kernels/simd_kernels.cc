#include "common/nn/kernels/simd_kernels.h"

#include <cstdlib>
#include <string_view>

namespace atelier::nn::kernels {

#if defined(__x86_64__)
namespace avx512_bf16 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
#endif
namespace portable {
extern const KernelTable kTable;
}

namespace {

struct Found {
  const KernelTable* tables[5] = {};
};

Found FindTables() {
  Found found;
  int n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2_fma && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) found.tables[n++] = &avx512_bf16::kTable;
  if (avx512) found.tables[n++] = &avx512::kTable;
  if (avx2_fma) found.tables[n++] = &avx2::kTable;
#endif
  found.tables[n] = &portable::kTable;
  return found;
}

const KernelTable& Choose() {
  const char* const wanted = std::getenv("ATELIER_ISA");
  const KernelTable* const* tables = AllSimdKernels();
  for (int i = 0; wanted != nullptr && tables[i] != nullptr; ++i) {
    if (std::string_view(wanted) == tables[i]->isa) return *tables[i];
  }
  // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.UndefReturn): the portable one is always there
  return *tables[0];
}

}  // namespace

const KernelTable* const* AllSimdKernels() {
  static const Found found = FindTables();
  return found.tables;
}

const KernelTable& SimdKernels() {
  static const KernelTable& table = Choose();
  return table;
}

}  // namespace atelier::nn::kernels
