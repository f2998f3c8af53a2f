#define ATELIER_SIMD_NAMESPACE avx2
#define ATELIER_SIMD_FLOATS 8
#define ATELIER_SIMD_ISA "avx2"
#include "common/nn/kernels/simd_kernels.inc"
