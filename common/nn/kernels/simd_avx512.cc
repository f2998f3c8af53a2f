#define ATELIER_SIMD_NAMESPACE avx512
#define ATELIER_SIMD_FLOATS 16
#define ATELIER_SIMD_ISA "avx512"
#include "common/nn/kernels/simd_kernels.inc"
