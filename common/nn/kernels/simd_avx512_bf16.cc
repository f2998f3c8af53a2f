#define ATELIER_SIMD_NAMESPACE avx512_bf16
#define ATELIER_SIMD_FLOATS 16
#define ATELIER_SIMD_ISA "avx512_bf16"
#include "common/nn/kernels/simd_kernels.inc"
