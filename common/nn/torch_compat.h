// What differs between LibTorch 1.13 (bookworm) and 2.x, and nothing else. Torch header.
// (bf16 needs no autocast here, see ForwardOptions::compute, so its two spellings do not occur.)
#pragma once

#include <torch/version.h>

#if TORCH_VERSION_MAJOR < 2
#define ATELIER_TORCH_ALLOCATE_CONST const
#else
#define ATELIER_TORCH_ALLOCATE_CONST
#endif
