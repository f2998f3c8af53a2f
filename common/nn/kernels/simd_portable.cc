#define ATELIER_SIMD_NAMESPACE portable
#define ATELIER_SIMD_FLOATS 4
#define ATELIER_SIMD_ISA "portable"
#include "common/nn/kernels/simd_kernels.inc"
